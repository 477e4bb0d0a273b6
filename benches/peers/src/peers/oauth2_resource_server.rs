//! tower-oauth2-resource-server 0.12.5, on jsonwebtoken 11 with aws-lc-rs.
//!
//! With `ClaimsValidationSpec::recommended`, which requires `iss`, `aud`, `exp` and `nbf`. HMAC has
//! to be allowed by name.

use jsonwebtoken::Algorithm;
use tower::Layer;
use tower_oauth2_resource_server::{
    server::OAuth2ResourceServer as Server, tenant::TenantConfiguration,
    validation::ClaimsValidationSpec,
};

use crate::{
    peer::{Claims, Inner, Layered, Missing, Peer},
    setup::{AUDIENCE, ISSUER, Keys, REFRESH, RUNTIME, Setup},
};

pub(crate) struct OAuth2ResourceServer;

impl Peer for OAuth2ResourceServer {
    const NAME: &'static str = "tower-oauth2-resource-server 0.12.5";
    type Body = ();

    fn body() {}

    fn around<C: Claims, I: Inner<()>>(setup: Setup, inner: I) -> Result<impl Layered, Missing> {
        let algorithm: Algorithm = setup.algorithm.as_str().parse().expect("it is known");
        let claims = ClaimsValidationSpec::recommended(ISSUER, &vec![AUDIENCE.to_owned()]);
        let server = RUNTIME.block_on(async {
            let tenant = match &setup.keys {
                Keys::Here(jwks) => TenantConfiguration::static_builder(jwks)
                    .audiences(&[AUDIENCE])
                    .claims_validation(claims)
                    .allowed_algorithms(&[algorithm])
                    .build(),
                Keys::At(url) => {
                    TenantConfiguration::builder(ISSUER)
                        .jwks_url(url)
                        .jwks_refresh_interval(REFRESH)
                        .audiences(&[AUDIENCE])
                        .claims_validation(claims)
                        .allowed_algorithms(&[algorithm])
                        .build()
                        .await
                }
            };
            let tenant = tenant.expect("a tenant");
            Server::<C>::builder().add_tenant(tenant).build().await
        });
        Ok(server.expect("a server").into_layer().layer(inner))
    }
}
