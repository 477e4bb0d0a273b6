//! The forms that were posted to a key server, and the responses to the tokens in them.

use std::collections::HashMap;

use super::Answer;

#[derive(Default)]
pub(super) struct Forms {
    /// The responses to tokens. A token without one gets the response of the path.
    pub(super) answers: HashMap<String, Answer>,
    /// The number of forms with each token.
    pub(super) hits: HashMap<String, usize>,
    /// The fields of the last form.
    pub(super) last: Vec<(String, String)>,
}

impl Forms {
    /// Records a form, and returns the response to its token.
    pub(super) fn posted(&mut self, form: &[u8]) -> Option<Answer> {
        self.last = form_urlencoded::parse(form).into_owned().collect();
        let token = self.field("token")?.to_owned();
        let answer = self.answers.get(&token).cloned();
        *self.hits.entry(token).or_default() += 1;
        answer
    }

    /// Returns a field of the last form.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let found = self.last.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}
