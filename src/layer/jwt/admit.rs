//! Changes a request: removes what only the layer may set, and inserts the caller.

use std::mem;

use http::Request;

use super::config::{Config, Pass};
use crate::{
    layer::{
        extract::Place,
        middleware::After,
        response::{answers_in, forget_derived},
    },
    principal::{Anonymous, Principal},
    verify::Verified,
};

impl<C, R> Config<C, R>
where
    C: Send + Sync + 'static,
{
    /// Removes from the request everything that only this layer may set. Values from the client or from
    /// an outer layer must not pass for values of this layer.
    pub(super) fn clean<B>(&self, request: &mut Request<B>) {
        if !request.extensions().is_empty() {
            let extensions = request.extensions_mut();
            // An outer layer's claims may be of another type than this layer's.
            if let Some(outer) = answers_in(extensions) {
                outer.forget(extensions);
            }
            extensions.remove::<Verified<C>>();
            extensions.remove::<Anonymous>();
            // An API key and a token are independent: no token replaces the principal of a key.
            if !extensions.get().is_some_and(Principal::is_by_key) {
                extensions.remove::<Principal>();
                forget_derived(extensions);
            }
        }
        self.forward.clean(request.headers_mut());
    }

    /// Prepares a request that passes for the inner service.
    #[inline(always)]
    pub(super) fn admit<B>(&self, request: &mut Request<B>, pass: Pass<C>) -> After {
        if self.strip {
            self.strip_credential(request);
        }
        match pass {
            Pass::Unwatched(token, place) => self.insert_unwatched(request, token, place),
            pass => self.admit_watched(request, pass),
        }
    }

    #[inline(never)]
    fn admit_watched<B>(&self, request: &mut Request<B>, pass: Pass<C>) -> After {
        match pass {
            Pass::Unwatched(token, place) => self.insert_unwatched(request, token, place),
            Pass::Caller(caller) => {
                self.insert(request, caller.token, caller.principal);
                After::of_place(caller.place)
            }
            Pass::WithNonce(proved) => {
                let (caller, nonce) = *proved;
                self.insert(request, caller.token, caller.principal);
                After::nonce(nonce)
            }
            Pass::Anonymous(clear) => {
                let extensions = request.extensions_mut();
                if extensions.get::<Principal>().is_none() {
                    extensions.insert(Anonymous::new(Some(self.origin())));
                }
                After::clear_cookies(clear)
            }
        }
    }

    #[inline(always)]
    fn insert_unwatched<B>(
        &self,
        request: &mut Request<B>,
        token: Verified<C>,
        place: Place,
    ) -> After {
        let principal = token.principal_from(Some(self.origin()));
        self.insert(request, token, principal);
        After::of_place(place)
    }

    #[inline(always)]
    fn insert<B>(&self, request: &mut Request<B>, token: Verified<C>, principal: Principal) {
        self.forward.write(&principal, request.headers_mut());
        let extensions = request.extensions_mut();
        extensions.insert(principal);
        extensions.insert(token);
    }

    #[cold]
    fn strip_credential<B>(&self, request: &mut Request<B>) {
        let mut target = mem::take(request.uri_mut());
        self.extractor.strip(request.headers_mut(), &mut target);
        *request.uri_mut() = target;
    }
}

impl<C> Pass<C> {
    #[cfg(feature = "warp")]
    pub(super) fn into_token(self) -> Option<Verified<C>> {
        match self {
            Self::Unwatched(token, _) => Some(token),
            Self::Caller(caller) => Some(caller.token),
            Self::WithNonce(proved) => Some(proved.0.token),
            Self::Anonymous(_) => None,
        }
    }
}
