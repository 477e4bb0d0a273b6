//! The settings about proofs of possession, by which the places of tokens and the challenges change.

use std::sync::Arc;

use super::config::Config;
use crate::{
    error::{ConfigError, Scheme},
    layer::{
        dpop::Dpop,
        extract::{TokenExtractor, WithCertificate, WithDpop},
        mtls::Mtls,
        response::Origins,
    },
};

/// The proofs of possession that a layer accepts.
#[derive(Clone)]
pub(super) struct Senders {
    /// The places of tokens, without the changes by the other settings.
    places: Arc<dyn TokenExtractor>,
    /// Tokens are read from `Authorization` only.
    has_default_places: bool,
    /// The rules for tokens that are sent with a proof.
    pub(super) dpop: Option<Arc<BoundTokens>>,
    /// The rules for the certificates of clients.
    pub(super) mtls: Option<Mtls>,
}

/// The settings of a layer that accepts proofs.
pub(super) struct BoundTokens {
    pub(super) rules: Dpop,
    /// The settings for the callers of this scheme, which guards inside this layer read.
    pub(super) origins: Origins,
}

impl Senders {
    /// Accepts no proofs.
    pub(super) fn none(places: Arc<dyn TokenExtractor>) -> Self {
        Self {
            places,
            has_default_places: true,
            dpop: None,
            mtls: None,
        }
    }

    /// Checks that no proof is of the request that a gateway sends about the one of its client.
    pub(super) fn check_gateway(&self) -> Result<(), ConfigError> {
        let dpop = self.dpop.as_ref();
        if dpop.is_some_and(|dpop| dpop.rules.reads_the_request()) {
            return Err(ConfigError::invalid(
                "dpop",
                "a gateway sends a request of its own: set `target_uri` and `target_method`",
            ));
        }
        let mtls = self.mtls.as_ref();
        if mtls.is_some_and(|mtls| mtls.header().is_none()) {
            return Err(ConfigError::invalid(
                "mtls",
                "the connection of a gateway has no certificate of its client: use `Mtls::behind`",
            ));
        }
        Ok(())
    }

    /// Returns the extractor of the layer.
    fn extractor(&self) -> Arc<dyn TokenExtractor> {
        let mut extractor = Arc::clone(&self.places);
        if let Some(dpop) = &self.dpop {
            extractor = Arc::new(WithDpop {
                inner: extractor,
                only_authorization: self.has_default_places,
                required: dpop.rules.is_required(),
            });
        }
        if let Some(mtls) = &self.mtls {
            extractor = Arc::new(WithCertificate {
                inner: extractor,
                header: mtls.header(),
            });
        }
        extractor
    }
}

impl<C, R> Config<C, R> {
    /// Sets the places from which tokens are read. Those with a proof have their own.
    pub(super) fn set_extractor(&mut self, extractor: Arc<dyn TokenExtractor>) {
        self.senders.places = extractor;
        self.senders.has_default_places = false;
        self.extractor = self.senders.extractor();
    }

    /// Accepts proofs, in addition to the tokens in the current places.
    pub(super) fn set_dpop(&mut self, rules: Dpop) {
        let used = match rules.is_required() {
            true => Scheme::Dpop,
            false => Scheme::Bearer,
        };
        let schemes = rules.schemes();
        let origins = Arc::clone(&self.origins);
        self.senders.dpop = Some(Arc::new(BoundTokens { rules, origins }));
        self.extractor = self.senders.extractor();
        self.change_answers(|answers| answers.with_schemes(schemes, used));
    }

    /// Compares tokens with the certificates of clients.
    pub(super) fn set_mtls(&mut self, rules: Mtls) {
        self.senders.mtls = Some(rules);
        self.extractor = self.senders.extractor();
    }
}
