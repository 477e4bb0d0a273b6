//! Decisions that do not depend on the credential of a request.

use std::sync::Arc;

use http::Method;
use serde_json::Value;

use super::config::Config;
use crate::{
    error::ConfigError,
    layer::{
        extract::{NamedPlace, Place, RequestHead},
        resource::{ProtectedResource, ResourceMetadata, WELL_KNOWN},
        response::{OFFLINE, is_scope},
    },
};

type Predicate = dyn Fn(RequestHead<'_>) -> bool + Send + Sync;

/// Requests that are decided without a look at their credential.
#[derive(Clone)]
pub(super) enum Unseen {
    /// They pass.
    Skip(Arc<Predicate>),
    /// Those for this document are answered with it.
    Metadata(Arc<Metadata>),
    /// All are refused, because a setting of this name has this problem.
    Fault(&'static str, &'static str),
}

/// The metadata of the resource that the layer protects.
pub(super) struct Metadata {
    resource: ProtectedResource,
    document: ResourceMetadata,
}

impl Unseen {
    pub(super) fn skip<F>(names: F) -> Self
    where
        F: Fn(RequestHead<'_>) -> bool + Send + Sync + 'static,
    {
        Self::Skip(Arc::new(names))
    }

    pub(super) fn is_skip(&self) -> bool {
        matches!(self, Self::Skip(_))
    }
}

impl<C, R> Config<C, R> {
    /// Announces a resource in place of an earlier one.
    pub(super) fn announce(&mut self, resource: &ProtectedResource) {
        const NAME: &str = "resource";

        self.change_answers(|answers| answers.with_announced(Arc::clone(resource.announced())));
        self.strip |= resource.is_mcp();
        self.unseen.retain(|unseen| match unseen {
            Unseen::Metadata(_) => false,
            Unseen::Fault(name, _) => *name != NAME,
            Unseen::Skip(_) => true,
        });
        if resource.is_mcp() && !self.verifier.requires_audience() {
            let problem = "the verifier of an MCP server must expect an audience; set it with \
                           `audience`";
            self.unseen.push(Unseen::Fault(NAME, problem));
        }
        self.unseen.push(Unseen::Metadata(Arc::new(Metadata {
            resource: resource.clone(),
            document: ResourceMetadata::new(resource, self.members()),
        })));
    }

    /// Builds the document again, after a setting that it states has changed.
    pub(super) fn announce_again(&mut self) {
        if let Some(metadata) = self.metadata() {
            let resource = metadata.resource.clone();
            self.announce(&resource);
        }
    }

    pub(super) fn metadata(&self) -> Option<&Metadata> {
        self.unseen.iter().find_map(|unseen| match unseen {
            Unseen::Metadata(metadata) => Some(&**metadata),
            Unseen::Skip(_) | Unseen::Fault(..) => None,
        })
    }

    /// Sets the scope in the challenges to requests without an accepted token.
    pub(super) fn set_challenge_scope(&mut self, scope: &str) {
        const NAME: &str = "challenge_scope";

        self.unseen
            .retain(|unseen| !matches!(unseen, Unseen::Fault(name, _) if *name == NAME));
        if !is_scope(scope) {
            let problem = "not a list of scope tokens, separated by single spaces (RFC 6749 §3.3)";
            self.unseen.push(Unseen::Fault(NAME, problem));
        }
        if scope.split(' ').any(|token| token == OFFLINE) {
            let problem = "`offline_access` is for refresh tokens, which clients request for \
                           themselves";
            self.unseen.push(Unseen::Fault(NAME, problem));
        }
        self.change_answers(|answers| answers.with_scope(scope));
    }

    /// Returns the first setting with a problem.
    pub(super) fn fault(&self) -> Result<(), ConfigError> {
        let fault = self.unseen.iter().find_map(|unseen| match unseen {
            Unseen::Fault(name, problem) => Some(ConfigError::invalid(*name, *problem)),
            Unseen::Skip(_) | Unseen::Metadata(_) => None,
        });
        fault.map_or(Ok(()), Err)
    }

    /// Returns the members of the metadata that the settings of the layer determine (RFC 9728 §2).
    fn members(&self) -> Vec<(&'static str, Value)> {
        // A cookie and other header fields are no methods of RFC 6750 §2.
        let method = |place: NamedPlace| match place.place() {
            Place::Authorization => Some("header"),
            Place::Query => Some("query"),
            _ => None,
        };
        let mut methods: Vec<_> = self
            .extractor
            .places()
            .into_iter()
            .filter_map(method)
            .collect();
        methods.sort_unstable();
        methods.dedup();
        let mut members = vec![("bearer_methods_supported", methods.into())];
        if self.senders.mtls.is_some() {
            members.push(("tls_client_certificate_bound_access_tokens", true.into()));
        }
        if let Some(dpop) = &self.senders.dpop {
            let algorithms: Vec<_> = dpop.rules.algorithms().collect();
            members.extend([
                ("dpop_signing_alg_values_supported", algorithms.into()),
                (
                    "dpop_bound_access_tokens_required",
                    dpop.rules.is_required().into(),
                ),
            ]);
        }
        members
    }
}

impl Metadata {
    pub(super) fn document(&self) -> &ResourceMetadata {
        &self.document
    }

    #[inline]
    pub(super) fn is_at(&self, head: RequestHead<'_>) -> bool {
        // The usual path ends here, without a look at the document.
        head.uri().path().starts_with(WELL_KNOWN) && self.document.is_at(head)
    }

    pub(super) fn answer_to(&self, method: &Method) -> http::Response<bytes::Bytes> {
        self.document.answer_to(method)
    }
}
