//! The claims that a rule reads, by name.

/// The rules that apply to a claim's name.
#[derive(Default)]
pub(super) struct Name<'r> {
    pub(super) claim: Option<Claim>,
    /// The name, if the application selected the claim.
    pub(super) chosen: Option<&'r str>,
}

impl Name<'_> {
    /// Returns `true` if no rule reads the claim.
    #[inline]
    pub(super) fn is_unread(&self) -> bool {
        self.claim.is_none() && self.chosen.is_none()
    }

    #[inline]
    pub(super) fn is_date(&self) -> bool {
        matches!(self.claim, Some(Claim::Exp | Claim::Nbf | Claim::Iat))
    }
}

/// The claims that a rule reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    Exp,
    Nbf,
    Iat,
    Iss,
    Aud,
    Sub,
    Jti,
    ClientId,
    Azp,
    Sid,
    Scope,
    /// The scope in tokens of Entra and Okta.
    Scp,
    Cnf,
    // Claims that state the use of the token.
    Typ,
    Type,
    TokenUse,
    TokenType,
    TokenTypeCamel,
    Use,
    /// The events of a security event token (RFC 8417 §2.2).
    Events,
    // Hashes in ID tokens (OpenID Connect Core §3.1.3.6, §3.3.2.11; FAPI 1.0 §5.1).
    AtHash,
    CHash,
    SHash,
    /// Entra: `app` if a client acts on its own behalf.
    Idtyp,
    /// Auth0: the grant type.
    Gty,
    /// Keycloak: the client's host, present only in tokens of service accounts.
    ClientHost,
    // Claims of this crate's issuer.
    Ep,
    Rtg,
    Guest,
    Conv,
    Permissions,
    // The user's authentication (OpenID Connect Core §2).
    Acr,
    Amr,
    AuthTime,
}

impl Claim {
    #[inline]
    pub(super) fn bit(self) -> u64 {
        1 << self as u64
    }

    pub(super) fn of(name: &str) -> Option<Self> {
        // The compiler turns a match on bytes into a search tree.
        Some(match name.as_bytes() {
            b"exp" => Self::Exp,
            b"nbf" => Self::Nbf,
            b"iat" => Self::Iat,
            b"iss" => Self::Iss,
            b"aud" => Self::Aud,
            b"sub" => Self::Sub,
            b"jti" => Self::Jti,
            b"client_id" => Self::ClientId,
            b"azp" => Self::Azp,
            b"sid" => Self::Sid,
            b"scope" => Self::Scope,
            b"scp" => Self::Scp,
            b"cnf" => Self::Cnf,
            b"ep" => Self::Ep,
            b"rtg" => Self::Rtg,
            b"guest" => Self::Guest,
            b"conv" => Self::Conv,
            b"permissions" => Self::Permissions,
            b"acr" => Self::Acr,
            b"amr" => Self::Amr,
            b"auth_time" => Self::AuthTime,
            b"typ" => Self::Typ,
            b"type" => Self::Type,
            b"token_use" => Self::TokenUse,
            b"token_type" => Self::TokenType,
            b"tokenType" => Self::TokenTypeCamel,
            b"use" => Self::Use,
            b"events" => Self::Events,
            b"at_hash" => Self::AtHash,
            b"c_hash" => Self::CHash,
            b"s_hash" => Self::SHash,
            b"idtyp" => Self::Idtyp,
            b"gty" => Self::Gty,
            b"clientHost" => Self::ClientHost,
            _ => return None,
        })
    }
}
