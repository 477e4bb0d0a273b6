//! The documents and tokens of real providers, after their public documentation, with keys of our
//! own: found by discovery, read by their presets.

use serde_json::{Value, json};
use tower_jwt_auth::{
    Principal, Verifier,
    error::AuthErrorKind,
    key::{Algorithm, remote::RemoteKeySet},
    principal::PrincipalKind,
    test_util::{TestClock, TestIssuer},
    verify::{Preset, VerifierBuilder},
};

use super::{memory::Memory, published, timed};

/// A provider as it is seen over the network, and what signs for it.
struct Provider {
    verifier: Verifier,
    memory: Memory,
    clock: TestClock,
    kid: &'static str,
}

impl Provider {
    /// Finds the keys from the issuer's name alone.
    async fn discover(
        issuer: &str,
        kid: &'static str,
        memory: Memory,
        rules: impl FnOnce(VerifierBuilder) -> VerifierBuilder,
    ) -> Self {
        let clock = TestClock::new();
        let keys = RemoteKeySet::oidc(issuer)
            .fetch(memory.clone())
            .clock(clock.clone())
            .build()
            .unwrap();
        keys.ready().await.unwrap();
        let verifier = rules(
            Verifier::key_source(keys)
                .issuer(issuer)
                .clock(clock.clone()),
        );
        let verifier = verifier.build().unwrap();
        Self {
            verifier,
            memory,
            clock,
            kid,
        }
    }

    fn sign(&self, header: Value, claims: Value) -> String {
        let mut header = header;
        header["alg"] = "RS256".into();
        header["kid"] = self.kid.into();
        let claims = timed(claims, &self.clock);
        TestIssuer::new(Algorithm::Rs256).raw(&header.to_string(), claims.as_bytes())
    }

    fn accepts(&self, header: Value, claims: Value) -> Principal {
        let token = self.sign(header, claims);
        self.verifier.verify_now(token).unwrap().principal()
    }

    fn refuses(&self, header: Value, claims: Value) -> AuthErrorKind {
        let token = self.sign(header, claims);
        self.verifier.verify_now(token).unwrap_err().kind()
    }
}

fn rsa(members: Value) -> Value {
    published(Algorithm::Rs256, members)
}

fn roles(principal: &Principal) -> Vec<&str> {
    principal.roles().collect()
}

fn scope(principal: &Principal) -> Vec<&str> {
    principal.scope().collect()
}

fn jwt() -> Value {
    json!({"typ": "JWT"})
}

/// Some providers write no `typ`.
fn bare() -> Value {
    json!({})
}

async fn auth0() -> Provider {
    let memory = Memory::default()
        .with(
            "https://shop.eu.auth0.com/.well-known/openid-configuration",
            json!({
                "issuer": "https://shop.eu.auth0.com/",
                "authorization_endpoint": "https://shop.eu.auth0.com/authorize",
                "token_endpoint": "https://shop.eu.auth0.com/oauth/token",
                "userinfo_endpoint": "https://shop.eu.auth0.com/userinfo",
                "jwks_uri": "https://shop.eu.auth0.com/.well-known/jwks.json",
                "response_types_supported": ["code", "token", "id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["HS256", "RS256", "PS256"],
                "scopes_supported": ["openid", "profile", "offline_access"]
            }),
        )
        .with(
            "https://shop.eu.auth0.com/.well-known/jwks.json",
            // The one in use and the next.
            json!({"keys": [
                rsa(json!({"use": "sig", "alg": "RS256", "kid": "now", "x5t": "bm93", "x5c": ["MIID"]})),
                rsa(json!({"use": "sig", "alg": "RS256", "kid": "next", "x5t": "bmV4dA", "x5c": ["MIID"]}))
            ]}),
        );
    let preset = Preset::auth0("shop.eu.auth0.com");
    assert_eq!(preset.issuer(), "https://shop.eu.auth0.com/");
    Provider::discover("https://shop.eu.auth0.com/", "now", memory, |rules| {
        rules.preset(preset).audience("https://orders.example")
    })
    .await
}

#[tokio::test]
async fn auth0_tokens_of_users_and_of_machines() {
    let provider = auth0().await;
    let user = provider.accepts(
        jwt(),
        json!({
            "iss": "https://shop.eu.auth0.com/",
            "sub": "auth0|6553da60a54af58e29493993",
            "aud": ["https://orders.example", "https://shop.eu.auth0.com/userinfo"],
            "azp": "K1AUPhZq8mRi0Q0p",
            "scope": "openid profile read:orders",
            "permissions": ["read:orders", "write:orders"]
        }),
    );
    assert_eq!(user.kind(), PrincipalKind::User);
    assert_eq!(user.client_id(), Some("K1AUPhZq8mRi0Q0p"));
    assert_eq!(roles(&user), ["read:orders", "write:orders"]);
    assert_eq!(scope(&user), ["openid", "profile", "read:orders"]);

    let machine = json!({
        "iss": "https://shop.eu.auth0.com/",
        "sub": "awZfdIir8YFdGZWk@clients",
        "aud": "https://orders.example",
        "azp": "awZfdIir8YFdGZWk",
        "gty": "client-credentials",
        "scope": "read:orders"
    });
    let principal = provider.accepts(jwt(), machine);
    assert_eq!(principal.kind(), PrincipalKind::Service);
    assert_eq!(principal.client_id(), Some("awZfdIir8YFdGZWk"));
    assert_eq!(provider.memory.asked().len(), 2);
}

#[tokio::test]
async fn auth0_machines_in_the_profile_of_rfc_9068_have_no_grant_type() {
    let provider = auth0().await;
    let token = |sub: &str| {
        json!({
            "iss": "https://shop.eu.auth0.com/",
            "sub": sub,
            "aud": "https://orders.example",
            "client_id": "awZfdIir8YFdGZWk",
            "jti": "73WakrfVbNJBaAmhQtEeDv",
            "scope": "read:orders"
        })
    };
    let header = || json!({"typ": "at+jwt"});
    let principal = provider.accepts(header(), token("awZfdIir8YFdGZWk@clients"));
    assert_eq!(principal.kind(), PrincipalKind::Service);
    // Somebody else's, or a user's: not the client for itself.
    for sub in ["other@clients", "auth0|awZfdIir8YFdGZWk", "auth0|x@clients"] {
        let principal = provider.accepts(header(), token(sub));
        assert_eq!(principal.kind(), PrincipalKind::User, "{sub}");
    }
}

#[tokio::test]
async fn f6_auth0_id_tokens_are_refused() {
    let provider = auth0().await;
    let id_token = json!({
        "iss": "https://shop.eu.auth0.com/",
        "sub": "auth0|6553da60a54af58e29493993",
        "aud": "K1AUPhZq8mRi0Q0p",
        "nonce": "n",
        "sid": "s",
        "nickname": "alice",
        "updated_at": "2026-01-01T00:00:00.000Z"
    });
    assert_eq!(
        provider.refuses(jwt(), id_token),
        AuthErrorKind::WrongAudience
    );
}

const REALM: &str = "https://sso.example/realms/shop";

async fn keycloak() -> Provider {
    let memory = Memory::default()
        .with(
            &format!("{REALM}/.well-known/openid-configuration"),
            json!({
                "issuer": REALM,
                "authorization_endpoint": format!("{REALM}/protocol/openid-connect/auth"),
                "token_endpoint": format!("{REALM}/protocol/openid-connect/token"),
                "introspection_endpoint": format!("{REALM}/protocol/openid-connect/token/introspect"),
                "jwks_uri": format!("{REALM}/protocol/openid-connect/certs"),
                "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
                "tls_client_certificate_bound_access_tokens": true,
                "mtls_endpoint_aliases": {"token_endpoint": format!("{REALM}/protocol/openid-connect/token")}
            }),
        )
        .with(
            &format!("{REALM}/protocol/openid-connect/certs"),
            // One key to encrypt, one to sign.
            json!({"keys": [
                rsa(json!({"kid": "enc", "use": "enc", "alg": "RSA-OAEP", "x5c": ["MIIC"], "x5t": "dA", "x5t#S256": "dA"})),
                rsa(json!({"kid": "sig", "use": "sig", "alg": "RS256", "x5c": ["MIIC"], "x5t": "dA", "x5t#S256": "dA"}))
            ]}),
        );
    Provider::discover(REALM, "sig", memory, |rules| {
        rules
            .preset(Preset::keycloak(REALM, "orders"))
            .audience("orders")
    })
    .await
}

fn keycloak_user() -> Value {
    json!({
        "jti": "20cda5b8-8b46-4046-976d-0a477d66e919",
        "iss": REALM,
        "aud": ["orders", "account"],
        "sub": "1f4db6ad-5e75-479c-b289-b8096ec1f4f4",
        "typ": "Bearer",
        "azp": "web",
        "sid": "58a8d9ce-1f4b-4a8b-8a43-22e0c8e0d7f7",
        "acr": "1",
        "auth_time": 1_767_225_600,
        "allowed-origins": ["https://shop.example"],
        "realm_access": {"roles": ["offline_access", "default-roles-shop"]},
        "resource_access": {
            "orders": {"roles": ["reader"]},
            "account": {"roles": ["manage-account", "admin"]}
        },
        "scope": "openid profile email",
        "email_verified": true,
        "preferred_username": "service-account-web"
    })
}

#[tokio::test]
async fn keycloak_tokens_of_users_and_of_service_accounts() {
    let provider = keycloak().await;
    // Whoever calls themselves so is still a user.
    let user = provider.accepts(jwt(), keycloak_user());
    assert_eq!(user.kind(), PrincipalKind::User);
    assert_eq!(user.client_id(), Some("web"));
    assert_eq!(
        user.session_id(),
        Some("58a8d9ce-1f4b-4a8b-8a43-22e0c8e0d7f7")
    );
    // Not the roles that another client of the realm granted.
    assert_eq!(
        roles(&user),
        ["offline_access", "default-roles-shop", "reader"]
    );
    assert_eq!(scope(&user), ["openid", "profile", "email"]);

    for client in ["client_id", "clientId"] {
        let mut service = keycloak_user();
        service["azp"] = "crawler".into();
        service[client] = "crawler".into();
        service["clientHost"] = "203.0.113.7".into();
        service["clientAddress"] = "203.0.113.7".into();
        service["preferred_username"] = "service-account-crawler".into();
        let principal = provider.accepts(jwt(), service);
        assert_eq!(principal.kind(), PrincipalKind::Service);
        assert_eq!(principal.client_id(), Some("crawler"));
    }
}

#[tokio::test]
async fn f6_keycloak_tokens_for_another_use_are_refused() {
    let provider = keycloak().await;
    // Even where somebody made the audience fit.
    for typ in ["ID", "Refresh", "Offline", "Logout"] {
        let mut claims = keycloak_user();
        claims["typ"] = typ.into();
        assert_eq!(
            provider.refuses(jwt(), claims),
            AuthErrorKind::WrongUse,
            "{typ}"
        );
    }
    let logout = json!({"typ": "logout+jwt"});
    assert_eq!(
        provider.refuses(logout, keycloak_user()),
        AuthErrorKind::WrongType
    );

    // As they really are: refresh tokens are signed with a secret of the realm.
    let mut claims = keycloak_user();
    claims["typ"] = "Refresh".into();
    claims["aud"] = REALM.into();
    let token = TestIssuer::new(Algorithm::Hs512).kid(Some("realm-secret"));
    let token = token.raw(
        r#"{"alg":"HS512","typ":"JWT","kid":"realm-secret"}"#,
        timed(claims, &provider.clock).as_bytes(),
    );
    let error = provider.verifier.verify_now(token).unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::AlgorithmNotAllowed);
    // A token for another client of the realm.
    let mut claims = keycloak_user();
    claims["aud"] = "account".into();
    assert_eq!(
        provider.refuses(jwt(), claims),
        AuthErrorKind::WrongAudience
    );
}

const TENANT: &str = "aaaabbbb-0000-cccc-1111-dddd2222eeee";
const API: &str = "00001111-aaaa-2222-bbbb-3333cccc4444";

async fn entra() -> Provider {
    let origin = "https://login.microsoftonline.com";
    let issuer = format!("{origin}/{TENANT}/v2.0");
    // No `alg`; an issuer of its own in each key.
    let key = |kid: &str| {
        rsa(json!({"use": "sig", "kid": kid, "x5t": kid, "x5c": ["MIIC"], "issuer": issuer}))
    };
    let memory = Memory::default()
        .with(
            &format!("{issuer}/.well-known/openid-configuration"),
            json!({
                "issuer": issuer,
                "token_endpoint": format!("{origin}/{TENANT}/oauth2/v2.0/token"),
                "jwks_uri": format!("{origin}/{TENANT}/discovery/v2.0/keys"),
                "id_token_signing_alg_values_supported": ["RS256"],
                "tenant_region_scope": "EU",
                "cloud_instance_name": "microsoftonline.com",
                "msgraph_host": "graph.microsoft.com"
            }),
        )
        .with(
            &format!("{origin}/{TENANT}/discovery/v2.0/keys"),
            json!({"keys": [key("XRvko8P7A3UaWSnU7bM9nT0MjhA"), key("A1bC2dE3fH4iJ5kL6mN7oP8qR9s")]}),
        );
    let preset = Preset::entra(TENANT);
    assert_eq!(preset.issuer(), issuer);
    Provider::discover(&issuer, "XRvko8P7A3UaWSnU7bM9nT0MjhA", memory, |rules| {
        rules.preset(preset).audience(API)
    })
    .await
}

fn entra_user() -> Value {
    json!({
        "aud": API,
        "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "nbf": 1_767_225_600,
        "aio": "AXQAi/8IAAAA",
        "azp": "11112222-bbbb-3333-cccc-4444dddd5555",
        "azpacr": "1",
        "name": "Alice",
        "oid": "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb",
        "preferred_username": "alice@shop.example",
        "rh": "0.AAAA",
        "roles": ["Orders.Admin"],
        "scp": "Orders.Read Orders.Write",
        "sub": "pairwise-subject",
        "tid": TENANT,
        "uti": "uti",
        "ver": "2.0"
    })
}

#[tokio::test]
async fn entra_tokens_of_users_and_of_apps() {
    let provider = entra().await;
    let user = provider.accepts(jwt(), entra_user());
    assert_eq!(user.kind(), PrincipalKind::User);
    assert_eq!(
        user.client_id(),
        Some("11112222-bbbb-3333-cccc-4444dddd5555")
    );
    assert_eq!(roles(&user), ["Orders.Admin"]);
    assert_eq!(scope(&user), ["Orders.Read", "Orders.Write"]);

    let mut app = entra_user();
    for claim in ["scp", "name", "preferred_username"] {
        app.as_object_mut().unwrap().remove(claim);
    }
    app["sub"] = app["oid"].clone();
    // `idtyp` is an optional claim; without it an app is known by what it lacks.
    let principal = provider.accepts(jwt(), app.clone());
    assert_eq!(principal.kind(), PrincipalKind::Service);
    assert_eq!(roles(&principal), ["Orders.Admin"]);
    app["idtyp"] = "app".into();
    assert_eq!(provider.accepts(jwt(), app).kind(), PrincipalKind::Service);
}

#[tokio::test]
async fn f6_entra_id_tokens_are_refused_also_where_the_audience_is_the_same() {
    let provider = entra().await;
    let mut id_token = entra_user();
    for claim in ["azp", "azpacr", "scp"] {
        id_token.as_object_mut().unwrap().remove(claim);
    }
    id_token["nonce"] = "n".into();
    let kind = provider.refuses(jwt(), id_token.clone());
    assert_eq!(kind, AuthErrorKind::MissingClaim("azp"));
    id_token["aud"] = "11112222-bbbb-3333-cccc-4444dddd5555".into();
    assert_eq!(
        provider.refuses(jwt(), id_token),
        AuthErrorKind::WrongAudience
    );
}

#[tokio::test]
async fn e13_entra_tokens_of_another_tenant_or_version_are_refused() {
    let provider = entra().await;
    for issuer in [
        format!("https://sts.windows.net/{TENANT}/"),
        format!("https://login.microsoftonline.com/{TENANT}/"),
        "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0".to_owned(),
        "https://login.microsoftonline.com/{tenantid}/v2.0".to_owned(),
        "https://login.microsoftonline.com/common/v2.0".to_owned(),
    ] {
        let mut claims = entra_user();
        claims["iss"] = issuer.clone().into();
        assert_eq!(
            provider.refuses(jwt(), claims),
            AuthErrorKind::WrongIssuer,
            "{issuer}"
        );
    }
}

#[tokio::test]
async fn entra_metadata_for_all_tenants_is_nobodys() {
    let common = "https://login.microsoftonline.com/common/v2.0";
    let memory = Memory::default().with(
        &format!("{common}/.well-known/openid-configuration"),
        json!({
            "issuer": "https://login.microsoftonline.com/{tenantid}/v2.0",
            "jwks_uri": "https://login.microsoftonline.com/common/discovery/v2.0/keys"
        }),
    );
    let keys = RemoteKeySet::oidc(common).fetch(memory).build().unwrap();
    let error = keys.ready().await.unwrap_err();
    assert_eq!(error.to_string(), "the metadata names another issuer");
}

const POOL: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_EXAMPLE";

async fn cognito() -> Provider {
    let key = |kid: &str| rsa(json!({"alg": "RS256", "kid": kid, "use": "sig"}));
    let memory = Memory::default()
        .with(
            &format!("{POOL}/.well-known/openid-configuration"),
            json!({
                "issuer": POOL,
                "jwks_uri": format!("{POOL}/.well-known/jwks.json"),
                "authorization_endpoint": "https://shop.auth.eu-central-1.amazoncognito.com/oauth2/authorize",
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code", "token"]
            }),
        )
        .with(
            &format!("{POOL}/.well-known/jwks.json"),
            // One for ID tokens, one for access tokens.
            json!({"keys": [key("1234example="), key("5678example=")]}),
        );
    let preset = Preset::cognito("eu-central-1", "eu-central-1_EXAMPLE");
    assert_eq!(preset.issuer(), POOL);
    Provider::discover(POOL, "5678example=", memory, |rules| {
        rules
            .preset(preset)
            .client_ids(["57cbishk4j24pabc1234567890"])
    })
    .await
}

fn cognito_user() -> Value {
    json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "device_key": "eu-central-1_aaaaaaaa",
        "cognito:groups": ["admin", "editor"],
        "iss": POOL,
        "version": 2,
        "client_id": "57cbishk4j24pabc1234567890",
        "origin_jti": "aaaaaaaa-bbbb-cccc-dddd-ffffffffffff",
        "event_id": "dda1b2b6",
        "token_use": "access",
        "scope": "phone openid profile orders/read",
        "auth_time": 1_767_225_600,
        "jti": "aaaaaaaa-bbbb-cccc-dddd-111111111111",
        "username": "alice"
    })
}

#[tokio::test]
async fn cognito_tokens_of_users_and_of_machines() {
    let provider = cognito().await;
    let user = provider.accepts(bare(), cognito_user());
    assert_eq!(user.kind(), PrincipalKind::User);
    assert_eq!(roles(&user), ["admin", "editor"]);
    assert_eq!(scope(&user), ["phone", "openid", "profile", "orders/read"]);

    let machine = json!({
        "sub": "57cbishk4j24pabc1234567890",
        "token_use": "access",
        "scope": "orders/read",
        "auth_time": 1_767_225_600,
        "iss": POOL,
        "version": 2,
        "jti": "aaaaaaaa-bbbb-cccc-dddd-222222222222",
        "client_id": "57cbishk4j24pabc1234567890"
    });
    let principal = provider.accepts(bare(), machine);
    assert_eq!(principal.kind(), PrincipalKind::Service);

    let mut other = cognito_user();
    other["client_id"] = "another".into();
    assert_eq!(provider.refuses(bare(), other), AuthErrorKind::WrongClient);
}

#[tokio::test]
async fn f6_cognito_id_tokens_are_refused() {
    let provider = cognito().await;
    let mut id_token = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "cognito:groups": ["admin"],
        "cognito:username": "alice",
        "iss": POOL,
        "aud": "57cbishk4j24pabc1234567890",
        "token_use": "id",
        "at_hash": "h",
        "email_verified": true
    });
    assert_eq!(
        provider.refuses(bare(), id_token.clone()),
        AuthErrorKind::WrongUse
    );
    // And would be without that word: they name no client.
    id_token.as_object_mut().unwrap().remove("token_use");
    let kind = provider.refuses(bare(), id_token);
    assert_eq!(kind, AuthErrorKind::MissingClaim("client_id"));
}

const GOOGLE: &str = "https://accounts.google.com";

async fn google(rules: impl FnOnce(VerifierBuilder) -> VerifierBuilder) -> Provider {
    let key = |kid: &str| rsa(json!({"use": "sig", "alg": "RS256", "kid": kid}));
    let memory = Memory::default()
        .with(
            "https://accounts.google.com/.well-known/openid-configuration",
            json!({
                "issuer": GOOGLE,
                "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
                "token_endpoint": "https://oauth2.googleapis.com/token",
                "userinfo_endpoint": "https://openidconnect.googleapis.com/v1/userinfo",
                "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
                "jwks_uri": "https://www.googleapis.com/oauth2/v3/certs",
                "id_token_signing_alg_values_supported": ["RS256"]
            }),
        )
        .with(
            "https://www.googleapis.com/oauth2/v3/certs",
            json!({"keys": [key("e197bf2e87bd1905"), key("6adc101cc7498c09")]}),
        );
    Provider::discover(GOOGLE, "6adc101cc7498c09", memory, rules).await
}

#[tokio::test]
async fn google_identity_tokens_of_service_accounts_for_this_service() {
    let provider = google(|rules| rules.audience("https://orders.example")).await;
    // Google's access tokens are no JWTs. What reaches a service is an ID token made for it.
    let token = json!({
        "iss": GOOGLE,
        "aud": "https://orders.example",
        "azp": "105440000000000000000",
        "sub": "105440000000000000000",
        "email": "crawler@shop.iam.gserviceaccount.com",
        "email_verified": true
    });
    let principal = provider.accepts(jwt(), token.clone());
    assert_eq!(principal.kind(), PrincipalKind::Service);
    // The keys lie on another host than the issuer.
    assert_eq!(
        provider.memory.asked(),
        [
            "https://accounts.google.com/.well-known/openid-configuration",
            "https://www.googleapis.com/oauth2/v3/certs"
        ]
    );
    // The older name of the issuer counts only where it was named.
    let mut older = token;
    older["iss"] = "accounts.google.com".into();
    assert_eq!(
        provider.refuses(jwt(), older.clone()),
        AuthErrorKind::WrongIssuer
    );
    let both = |rules: VerifierBuilder| {
        rules
            .audience("https://orders.example")
            .issuer("accounts.google.com")
    };
    google(both).await.accepts(jwt(), older);
}

#[tokio::test]
async fn f6_google_sign_in_tokens_and_opaque_access_tokens_are_refused() {
    let provider = google(|rules| rules.audience("https://orders.example")).await;
    let id_token = json!({
        "iss": GOOGLE,
        "aud": "1234987819200.apps.googleusercontent.com",
        "azp": "1234987819200.apps.googleusercontent.com",
        "sub": "10769150350006150715113082367",
        "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
        "hd": "shop.example",
        "email": "alice@shop.example",
        "nonce": "0394852-3190485-2490358"
    });
    assert_eq!(
        provider.refuses(jwt(), id_token),
        AuthErrorKind::WrongAudience
    );
    let error = provider
        .verifier
        .verify_now("ya29.a0AfB_byExample")
        .unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::MalformedToken);
}

const OKTA: &str = "https://shop.okta.com/oauth2/default";

async fn okta(rules: impl FnOnce(VerifierBuilder) -> VerifierBuilder) -> Provider {
    let memory = Memory::default()
        .with(
            &format!("{OKTA}/.well-known/openid-configuration"),
            json!({
                "issuer": OKTA,
                "token_endpoint": format!("{OKTA}/v1/token"),
                "jwks_uri": format!("{OKTA}/v1/keys"),
                "grant_types_supported": ["authorization_code", "client_credentials"],
                "request_object_signing_alg_values_supported": ["HS256", "RS256", "ES256"]
            }),
        )
        .with(
            &format!("{OKTA}/v1/keys"),
            json!({"keys": [rsa(json!({
                "alg": "RS256", "use": "sig", "kid": "ZkvelLN_seik7w4pc"
            }))]}),
        );
    let preset = Preset::okta("shop.okta.com", "default");
    assert_eq!(preset.issuer(), OKTA);
    Provider::discover(OKTA, "ZkvelLN_seik7w4pc", memory, |builder| {
        rules(builder.preset(preset))
    })
    .await
}

fn okta_user() -> Value {
    json!({
        "ver": 1,
        "jti": "AT.MNAoEQ_jbKqoinrQo1D0XKjMX28U5d7Zsz",
        "iss": OKTA,
        "aud": "api://default",
        "sub": "alice@shop.example",
        "cid": "0oar95zt9zIpYuz6A0h7",
        "uid": "00u1abcdefGHIJ",
        "scp": ["openid", "orders.read"],
        "auth_time": 1_767_225_600,
        "groups": ["Everyone", "Admins"]
    })
}

#[tokio::test]
async fn okta_tokens_of_users_and_of_services() {
    let provider = okta(|rules| {
        rules
            .audience("api://default")
            .client_ids(["0oar95zt9zIpYuz6A0h7"])
    })
    .await;
    let user = provider.accepts(bare(), okta_user());
    assert_eq!(user.kind(), PrincipalKind::User);
    assert_eq!(user.client_id(), Some("0oar95zt9zIpYuz6A0h7"));
    assert_eq!(roles(&user), ["Everyone", "Admins"]);
    assert_eq!(scope(&user), ["openid", "orders.read"]);

    let service = json!({
        "ver": 1,
        "jti": "AT.s",
        "iss": OKTA,
        "aud": "api://default",
        "sub": "0oar95zt9zIpYuz6A0h7",
        "cid": "0oar95zt9zIpYuz6A0h7",
        "scp": ["orders.read"]
    });
    let principal = provider.accepts(bare(), service);
    assert_eq!(principal.kind(), PrincipalKind::Service);
    assert_eq!(principal.client_id(), Some("0oar95zt9zIpYuz6A0h7"));

    let mut other = okta_user();
    other["cid"] = "another".into();
    assert_eq!(provider.refuses(bare(), other), AuthErrorKind::WrongClient);
    let mut odd = okta_user();
    odd["cid"] = json!(7);
    assert_eq!(
        provider.refuses(bare(), odd),
        AuthErrorKind::MissingClaim("client_id")
    );
}

#[tokio::test]
async fn f6_okta_id_tokens_and_tokens_for_okta_itself_are_refused() {
    let id_token = json!({
        "ver": 1,
        "jti": "ID.radCQMOQUmyvcTBmmIL0J6BaS60apUEiC7",
        "iss": OKTA,
        "aud": "0oar95zt9zIpYuz6A0h7",
        "sub": "00u1abcdefGHIJ",
        "amr": ["pwd"],
        "idp": "00o1",
        "nonce": "n",
        "at_hash": "h"
    });
    let by_audience = okta(|rules| rules.audience("api://default")).await;
    let kind = by_audience.refuses(bare(), id_token.clone());
    assert_eq!(kind, AuthErrorKind::WrongAudience);
    let by_client = okta(|rules| rules.client_ids(["0oar95zt9zIpYuz6A0h7"])).await;
    let kind = by_client.refuses(bare(), id_token);
    assert_eq!(kind, AuthErrorKind::MissingClaim("client_id"));

    let internal = json!({"typ": "application/okta-internal-at+jwt"});
    let kind = by_audience.refuses(internal, okta_user());
    assert_eq!(kind, AuthErrorKind::WrongType);
}

#[tokio::test]
async fn a_claim_of_one_provider_means_nothing_in_the_tokens_of_another() {
    let provider = auth0().await;
    let principal = provider.accepts(
        jwt(),
        json!({
            "iss": "https://shop.eu.auth0.com/",
            "sub": "auth0|1",
            "aud": "https://orders.example",
            "cid": "auth0|1",
            "clientHost": "x"
        }),
    );
    assert_eq!(principal.kind(), PrincipalKind::User);
    assert_eq!(principal.client_id(), None);
}
