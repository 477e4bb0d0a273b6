//! Policy engines behind the port `Decide`: Cedar in this process, and any server of the AuthZEN
//! Authorization API.

pub mod authzen;
pub mod cedar;

use tower_jwt_auth::layer::role_guard::Action;

/// The action of a route on `/documents/{id}`.
pub fn on_document(name: &str) -> Action {
    Action::new(name).resource("document").resource_id(|head| {
        match head.path_segments()?.as_slice() {
            [documents, id] if documents == "documents" && !id.is_empty() => Some(id.to_string()),
            _ => None,
        }
    })
}
