//! The peers, each set up in a file of its own, and the floor of them all.

mod aliri_tower;
mod axum_jwks;
mod axum_jwt_auth;
mod by_hand;
mod jwt_authorizer;
mod oauth2_resource_server;
mod ours;

pub(crate) use self::{
    aliri_tower::AliriTower,
    axum_jwks::AxumJwks,
    axum_jwt_auth::AxumJwtAuth,
    by_hand::ByHand,
    jwt_authorizer::{JwtAuthorizer, JwtAuthorizerGrpc},
    oauth2_resource_server::OAuth2ResourceServer,
    ours::{Ours, OursUncached},
};
use crate::peer::Peer;

/// Whoever wants to meet the peers.
pub(crate) trait Visitor {
    /// `G` is `P` as it is set up for gRPC.
    fn meet<P: Peer, G: Peer>(&mut self);
}

/// This crate without its memory of tokens, and all the others.
pub(crate) fn visit(visitor: &mut impl Visitor) {
    visitor.meet::<ByHand, ByHand>();
    visitor.meet::<JwtAuthorizer, JwtAuthorizerGrpc>();
    visitor.meet::<OAuth2ResourceServer, OAuth2ResourceServer>();
    visitor.meet::<AliriTower, AliriTower>();
    visitor.meet::<AxumJwtAuth, AxumJwtAuth>();
    visitor.meet::<AxumJwks, AxumJwks>();
}
