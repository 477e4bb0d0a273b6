//! Decisions by Cedar, in this process.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    future::Ready,
};

use cedar_policy::{
    Authorizer, Context, Decision as Verdict, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use tower_jwt_auth::{
    Principal,
    layer::role_guard::{Decide, Decided, Decision, Question},
};

/// The types of the policies.
pub const SCHEMA: &str = r#"
    entity Role;
    entity User in [Role];
    entity document { owner: User, locked: Bool };
    action read, edit appliesTo {
        principal: User,
        resource: document,
        context: { scopes: Set<String> },
    };
"#;

/// Readers read, owners edit, and nobody edits a locked document.
pub const POLICIES: &str = r#"
    @id("readers")
    permit (principal in Role::"reader", action == Action::"read", resource);

    @id("owners")
    permit (principal, action, resource)
    when { resource.owner == principal && context.scopes.contains("documents") };

    @id("locked")
    forbid (principal, action == Action::"edit", resource)
    when { resource.locked };
"#;

/// A document, as the application stores it.
#[derive(Clone, Debug)]
pub struct Document {
    /// The subject of the owner.
    pub owner: String,
    pub locked: bool,
}

/// A policy engine with policies in Cedar.
///
/// The documents are in memory here. An application that reads them from a database returns a future
/// instead, and keeps the evaluation as it is.
pub struct Cedar {
    authorizer: Authorizer,
    schema: Schema,
    policies: PolicySet,
    documents: HashMap<String, Document>,
}

type Problem = Box<dyn Error + Send + Sync>;

impl Cedar {
    /// Reads the policies, and validates them against the schema.
    pub fn new(
        schema: &str,
        policies: &str,
        documents: impl IntoIterator<Item = (String, Document)>,
    ) -> Result<Self, Problem> {
        let (schema, _) = Schema::from_cedarschema_str(schema)?;
        let policies: PolicySet = policies.parse()?;
        let result = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if let Some(error) = result.validation_errors().next() {
            return Err(error.to_string().into());
        }
        Ok(Self {
            authorizer: Authorizer::new(),
            schema,
            policies,
            documents: documents.into_iter().collect(),
        })
    }

    fn verdict(&self, question: &Question<'_>) -> Result<Decision, Problem> {
        let (Some(subject), Some(action), Some(kind), Some(id)) = (
            question.caller().subject(),
            question.action(),
            question.resource(),
            question.resource_id(),
        ) else {
            return Ok(Decision::deny().because("no subject, action or resource"));
        };
        // An unknown document is refused like one of another owner.
        let Some(document) = self.documents.get(id).filter(|_| kind == "document") else {
            return Ok(Decision::deny().because("an unknown resource"));
        };
        let user = uid("User", subject)?;
        let roles = question.caller().roles();
        let roles: HashSet<_> = roles
            .map(|role| uid("Role", role))
            .collect::<Result<_, _>>()?;
        let resource = uid(kind, id)?;
        let attributes = HashMap::from([
            (
                "owner".to_owned(),
                RestrictedExpression::new_entity_uid(uid("User", &document.owner)?),
            ),
            (
                "locked".to_owned(),
                RestrictedExpression::new_bool(document.locked),
            ),
        ]);
        let entities = Entities::from_entities(
            [
                Entity::new_no_attrs(user.clone(), roles),
                Entity::new(resource.clone(), attributes, HashSet::new())?,
            ],
            Some(&self.schema),
        )?;
        let context = Context::from_pairs([("scopes".to_owned(), scopes(question.caller()))])?;
        let action = uid("Action", action)?;
        let request = Request::new(user, action, resource, context, Some(&self.schema))?;
        let response = self
            .authorizer
            .is_authorized(&request, &self.policies, &entities);

        // A policy that cannot be evaluated has no effect in Cedar. A `forbid` of that kind would not
        // forbid.
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(error.to_string().into());
        }
        Ok(match response.decision() {
            Verdict::Allow => Decision::Allow,
            Verdict::Deny => {
                let names = response.diagnostics().reason().map(|id| self.name_of(id));
                let names: Vec<_> = names.collect();
                Decision::deny().because(match names.is_empty() {
                    true => "no policy permits it".to_owned(),
                    false => format!("forbidden by {}", names.join(", ")),
                })
            }
        })
    }

    fn name_of(&self, id: &cedar_policy::PolicyId) -> String {
        let name = self.policies.annotation(id, "id");
        name.map_or_else(|| id.to_string(), str::to_owned)
    }
}

impl Decide for Cedar {
    // An evaluation takes some tens of microseconds, so that it needs no task.
    type Future = Ready<Decision>;

    fn decide(&self, question: &Question<'_>) -> Decided<Ready<Decision>> {
        let verdict = self.verdict(question);
        Decided::Ready(
            verdict.unwrap_or_else(|error| Decision::unavailable(5).because(error.to_string())),
        )
    }
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, Problem> {
    let kind: EntityTypeName = kind.parse()?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn scopes(caller: &Principal) -> RestrictedExpression {
    let scopes = caller.scope().map(str::to_owned);
    RestrictedExpression::new_set(scopes.map(RestrictedExpression::new_string))
}
