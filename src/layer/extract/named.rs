//! The places of an extractor, for documentation.

use super::Place;

/// A place in a request with its name, as documentation such as OpenAPI describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPlace {
    place: Place,
    name: String,
}

impl NamedPlace {
    /// Creates a place. The name is that of the header, the cookie or the parameter.
    #[must_use]
    pub fn new(place: Place, name: impl Into<String>) -> Self {
        Self {
            place,
            name: name.into(),
        }
    }

    /// Returns the place.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Returns the name of the header, the cookie or the parameter.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}
