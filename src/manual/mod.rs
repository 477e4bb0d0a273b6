//! The manual: one chapter per topic. These modules contain no items.

#[doc = include_str!("getting_started.md")]
pub mod getting_started {}

#[doc = include_str!("moving_from_jsonwebtoken.md")]
pub mod moving_from_jsonwebtoken {}

#[doc = include_str!("recipes/mod.md")]
pub mod recipes {
    #[doc = include_str!("recipes/cors.md")]
    pub mod cors {}

    #[doc = include_str!("recipes/route_layer.md")]
    pub mod route_layer {}

    #[doc = include_str!("recipes/verbs.md")]
    pub mod verbs {}

    #[doc = include_str!("recipes/grpc.md")]
    pub mod grpc {}

    #[doc = include_str!("recipes/step_up.md")]
    pub mod step_up {}

    #[doc = include_str!("recipes/policy_engine.md")]
    pub mod policy_engine {}

    #[doc = include_str!("recipes/openapi.md")]
    pub mod openapi {}

    #[doc = include_str!("recipes/gate.md")]
    pub mod gate {}

    #[doc = include_str!("recipes/api_keys.md")]
    pub mod api_keys {}

    #[cfg(feature = "totp")]
    #[cfg_attr(docsrs, doc(cfg(feature = "totp")))]
    #[doc = include_str!("recipes/second_factor.md")]
    pub mod second_factor {}

    #[doc = include_str!("recipes/service_tokens.md")]
    pub mod service_tokens {}

    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[doc = include_str!("recipes/mail.md")]
    pub mod mail {}

    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[doc = include_str!("recipes/oidc.md")]
    pub mod oidc {}

    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[doc = include_str!("recipes/passkeys.md")]
    pub mod passkeys {}

    #[cfg(feature = "server")]
    #[cfg_attr(docsrs, doc(cfg(feature = "server")))]
    #[doc = include_str!("recipes/users_table.md")]
    pub mod users_table {}

    #[doc = include_str!("recipes/refused.md")]
    pub mod refused {}
}

#[doc = include_str!("keys.md")]
pub mod keys {}

#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
#[doc = include_str!("issuing.md")]
pub mod issuing {}

#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
#[doc = include_str!("sessions.md")]
pub mod sessions {}

#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
#[doc = include_str!("api_keys.md")]
pub mod api_keys {}

#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
#[doc = include_str!("guests.md")]
pub mod guests {}

#[doc = include_str!("dpop.md")]
pub mod dpop {}

#[doc = include_str!("mtls.md")]
pub mod mtls {}

#[doc = include_str!("introspection.md")]
pub mod introspection {}

#[doc = include_str!("frameworks.md")]
pub mod frameworks {}

#[doc = include_str!("gateways.md")]
pub mod gateways {}

#[doc = include_str!("mcp.md")]
pub mod mcp {}

#[doc = include_str!("defaults.md")]
pub mod defaults {}

#[doc = include_str!("remembered.md")]
pub mod remembered {}

#[doc = include_str!("operation.md")]
pub mod operation {}

#[doc = include_str!("threat_model.md")]
pub mod threat_model {}

#[doc = include_str!("architecture.md")]
pub mod architecture {}

#[doc = include_str!("rules.md")]
pub mod rules {}

#[doc = include_str!("limits.md")]
pub mod limits {}

#[cfg(feature = "server")]
#[cfg_attr(docsrs, doc(cfg(feature = "server")))]
#[doc = include_str!("login.md")]
pub mod login {}
