//! The description of the HTTP API (OpenAPI 3.1), made from the table of routes: what is not
//! described does not exist, and the other way round.

use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItemBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{
    ArrayBuilder, ComponentsBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type,
};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ContentBuilder, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, PathsBuilder, Ref, RefOr,
    Required, ResponseBuilder, ResponsesBuilder,
};
use utoipa::{PartialSchema, ToSchema};

use super::body::*;
use super::charge::{ChargeLine, ChargeView, ReceiptView};
use super::market::*;
use super::money::*;
use super::organisation::*;
use super::query::{MEDIA_PROBLEM, ProblemView};
use super::route::{Method, ROUTES, Route};
use super::usage::{UsageAnswer, UsageView};
use super::view::*;

macro_rules! schemas {
    ($($kind:ty),* $(,)?) => {
        fn schemas() -> Vec<(String, RefOr<Schema>)> {
            vec![$((<$kind as ToSchema>::name().into_owned(), <$kind as PartialSchema>::schema())),*]
        }
    };
}

schemas![
    MeView,
    BalanceView,
    PackageView,
    PackageState,
    HoldView,
    TransferView,
    ReceiptView,
    ChargeView,
    ChargeLine,
    KeysetView,
    UsageAnswer,
    UsageView,
    AlertView,
    PriceBookView,
    PriceView,
    UserView,
    NewUser,
    MadeUser,
    Switch,
    TokenView,
    NewToken,
    MadeToken,
    HookView,
    NewHook,
    MadeHook,
    AccountView,
    NewAccount,
    NewPackage,
    MadePackage,
    NewRefund,
    LogView,
    EnclaveView,
    RecomputedView,
    DeliveryView,
    Done,
    ProblemView,
    NewPassword,
    NewIdentity,
    IdentityView,
    NewProject,
    ProjectView,
    NewCredential,
    MadeCredential,
    CredentialView,
    NewBudget,
    MadeBudget,
    BudgetView,
    NewLimits,
    LimitsView,
    NewInvoice,
    InvoiceView,
    InvoiceSheet,
    InvoiceLine,
    AnnexLine,
    CorrectionLine,
    NewCorrection,
    CorrectedView,
    NewDecision,
    DisputeView,
    NewCredit,
    NewTier,
    CreditView,
    NewReservation,
    MadeReservation,
    ReservationView,
    NewSend,
    NewVoid,
    NewPayout,
    PayableView,
    NewSplit,
    NewParty,
    MadeSplit,
    SplitView,
    PartyView,
    StatementView,
    NewPriceBook,
    NewPricedModel,
    MadePriceBook,
];

/// Under this name an operation says its words on the command line.
pub const COMMAND: &str = "x-command";

/// The description.
pub fn description() -> OpenApi {
    let info = InfoBuilder::new()
        .title("bulla: accounts, packages, usage and audit")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Amounts are integers in micro-units of their unit of account; amounts of different \
             units are never added. Instants are RFC 3339 in UTC. Lists come in pages: ask again \
             with `after` set to `next`. Errors are RFC 9457 problem documents.",
        ))
        .build();
    let mut paths = PathsBuilder::new();
    for route in ROUTES {
        let same = ROUTES.iter().filter(|other| other.path == route.path);
        let item = same.fold(PathItemBuilder::new(), |item, route| {
            item.operation(method(route.method), operation(route))
        });
        // The same path again says the same.
        paths = paths.path(route.path, item.build());
    }
    let token = SecurityScheme::Http(
        HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "An API token (`bulla_api_…`) or an account's credential (read only).",
            ))
            .build(),
    );
    let cookie = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new("bulla_session")));
    let components = ComponentsBuilder::new()
        .schemas_from_iter(schemas())
        .security_scheme("token", token)
        .security_scheme("session", cookie);
    OpenApiBuilder::new()
        .info(info)
        .paths(paths.build())
        .components(Some(components.build()))
        .security(Some(
            ["token", "session"].map(|name| SecurityRequirement::new(name, Vec::<String>::new())),
        ))
        .build()
}

fn method(method: Method) -> HttpMethod {
    match method {
        Method::Get => HttpMethod::Get,
        Method::Post => HttpMethod::Post,
        Method::Delete => HttpMethod::Delete,
    }
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

/// What stands in a path.
fn place(name: &str, command: &str) -> String {
    let id_of = command.split(' ').next().unwrap_or_default();
    match (name, id_of) {
        ("account", _) => "Name or number of the account.".to_owned(),
        ("package", _) => "Number of the package.".to_owned(),
        ("number", _) => "Number of the invoice or credit note.".to_owned(),
        ("hold", _) => "Id of the hold.".to_owned(),
        ("digest", _) => "Digest of the receipt.".to_owned(),
        ("keyset", _) => "Digest of the keyset.".to_owned(),
        ("name", _) => "Name of the user.".to_owned(),
        (_, "why") => "A hold, a receipt's digest or a transfer's number.".to_owned(),
        (_, "user") => "Id of the link, as `user identities` lists it.".to_owned(),
        _ => format!("Id of the {id_of}."),
    }
}

fn operation(route: &Route) -> OperationBuilder {
    let tag = if route.path.starts_with("/account/") { "account" } else { "admin" };
    let mut operation = OperationBuilder::new()
        .operation_id(Some(route.name))
        .tag(tag)
        .extensions(Some(Extensions::builder().add(COMMAND, route.command).build()))
        .summary(Some(route.about))
        .description(Some(format!("Needs the right `{:?}`.", route.needs)));
    for name in route.path_parameters() {
        let schema = match name {
            "package" | "number" => ObjectBuilder::new()
                .schema_type(Type::Integer)
                .format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64))),
            _ => text(),
        };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(place(name, route.command)))
            .schema(Some(schema));
        operation = operation.parameter(parameter);
    }
    for parameter in route.query {
        let parameter = ParameterBuilder::new()
            .name(parameter.name)
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(parameter.about))
            .schema(Some(text()));
        operation = operation.parameter(parameter);
    }
    if let Some(body) = route.body {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(body)));
        let body = RequestBodyBuilder::new()
            .content("application/json", content.build())
            .required(Some(Required::True));
        operation = operation.request_body(Some(body.build()));
    }
    operation.responses(
        ResponsesBuilder::new().response("200", answer(route)).response("default", problem()),
    )
}

fn answer(route: &Route) -> ResponseBuilder {
    let (media, schema) = route.answer;
    let content = match (schema.strip_suffix("[]"), schema) {
        (Some(item), _) => ContentBuilder::new().schema(Some(page(item))),
        (None, "") if media == "application/json" => {
            ContentBuilder::new().schema(Some(ObjectBuilder::new()))
        }
        (None, "") => ContentBuilder::new().schema(Some(text())),
        (None, name) => ContentBuilder::new().schema(Some(Ref::from_schema_name(name))),
    };
    ResponseBuilder::new().description(route.about).content(media, content.build())
}

fn page(item: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .property("items", ArrayBuilder::new().items(Ref::from_schema_name(item)))
        .required("items")
        .property(
            "next",
            ObjectBuilder::new().schema_type(utoipa::openapi::schema::SchemaType::from_iter([
                Type::String,
                Type::Null,
            ])),
        )
        .required("next")
}

fn problem() -> ResponseBuilder {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ProblemView")));
    ResponseBuilder::new()
        .description("A problem document (RFC 9457).")
        .content(MEDIA_PROBLEM, content.build())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn every_route_is_described_and_every_schema_is_there() {
        let document: Value = serde_json::to_value(description()).unwrap();
        assert_eq!(document["openapi"].as_str().map(|v| &v[..3]), Some("3.1"));
        for route in ROUTES {
            let method = format!("{:?}", route.method).to_lowercase();
            let operation = &document["paths"][route.path][&method];
            assert_eq!(operation["operationId"], route.name, "{} {}", method, route.path);
        }
        let operations: usize = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|item| item.as_object().unwrap().len())
            .sum();
        assert_eq!(operations, ROUTES.len());
        let text = document.to_string();
        let mut refs = 0;
        for reference in text.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(document["components"]["schemas"][name].is_object(), "{name}");
            refs += 1;
        }
        assert!(refs > ROUTES.len());
    }

    /// The client makes its commands from a copy: `BULLA_BLESS=1` writes it anew.
    #[test]
    fn the_clients_copy_is_the_description() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../client/src/commands/operation/openapi.json");
        let text = serde_json::to_string_pretty(&description()).unwrap() + "\n";
        if std::env::var_os("BULLA_BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let copy = std::fs::read_to_string(path).unwrap_or_default();
        assert!(copy == text, "run this test with BULLA_BLESS=1, and commit what it wrote");
    }
}
