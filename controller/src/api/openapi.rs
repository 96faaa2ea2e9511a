//! The API's own description, made from the handlers and the types.

use std::sync::LazyLock;

use chandler_api::problem::Problem;
use utoipa::openapi::path::{HttpMethod, Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::reply::{Answer, OK, Reply};
use super::{
    artifact, bill, criteria, drain, event, federation, history, host, market, movement, offering, order, partner,
    party, quote, service, settlement, site, sla, status, token,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "Chandler", description = "SLA-driven provisioning of software over a fleet of computers."),
    paths(
        status::root, status::healthz, document,
        party::list, party::create, party::show,
        site::list, site::create, site::show, site::update,
        token::join_create, token::create, token::delete,
        host::list, host::show, host::revoke, history::import,
        drain::of_host, drain::host, drain::host_end, drain::of_site, drain::site, drain::site_end,
        criteria::show, criteria::apply,
        artifact::list, artifact::publish, artifact::show, artifact::blob, artifact::blob_put,
        offering::list, offering::show, offering::apply,
        quote::create,
        order::list, order::create, order::show, order::cancel,
        service::list, service::show, service::delete,
        service::explain::show, service::logs::show, service::output::download,
        movement::order, movement::list, movement::show,
        sla::list, sla::show, sla::amend, sla::history,
        bill::list, bill::run, bill::show, bill::ledger_check,
        federation::show, federation::announce, federation::rotate,
        partner::list, partner::show, partner::invite, partner::accept,
        partner::suspend, partner::resume, partner::end, partner::pin,
        settlement::receipts, settlement::month::show, settlement::month::settle,
        settlement::dispute::list, settlement::dispute::show, settlement::dispute::say, settlement::dispute::decide,
        settlement::statement::list,
        market::show, market::offer::list, market::offer::create, market::offer::show, market::offer::update,
        market::demand::list, market::demand::show, market::lease::list, market::standing::show,
        event::list, event::stream::follow, status::show,
    ),
    components(schemas(Problem)),
    security(("token" = [])),
    modifiers(&Everywhere),
)]
struct Document;

/// What holds for all routes alike: the token, the headers of a method, and how errors look.
struct Everywhere;

impl Modify for Everywhere {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        for item in api.paths.paths.values_mut() {
            let operations = [
                (HttpMethod::Get, &mut item.get),
                (HttpMethod::Post, &mut item.post),
                (HttpMethod::Put, &mut item.put),
                (HttpMethod::Patch, &mut item.patch),
                (HttpMethod::Delete, &mut item.delete),
            ];
            for (method, operation) in operations {
                if let Some(operation) = operation {
                    complete(&method, operation);
                }
            }
        }
    }
}

fn complete(method: &HttpMethod, operation: &mut Operation) {
    let header = match method {
        HttpMethod::Post => Some(("Idempotency-Key", "chosen by the client; repeating it repeats the answer")),
        HttpMethod::Patch => Some(("If-Match", "the ETag of what was read")),
        _ => None,
    };
    if let Some((name, description)) = header {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Header)
            .required(Required::True)
            .description(Some(description))
            .build();
        operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
    }
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new()
        .description("what went wrong and what to do about it")
        .content("application/problem+json", content)
        .build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(problem));
}

/// Made once: it never changes while the program runs.
static TEXT: LazyLock<Result<String, String>> =
    LazyLock::new(|| Document::openapi().to_json().map_err(|e| e.to_string()));

/// The description as the router gives it, for those who compare it with the table of access.
#[cfg(test)]
pub(super) fn paths() -> Vec<(String, String)> {
    let api = Document::openapi();
    let mut list = Vec::new();
    for (path, item) in &api.paths.paths {
        let operations = [
            ("GET", &item.get),
            ("POST", &item.post),
            ("PUT", &item.put),
            ("PATCH", &item.patch),
            ("DELETE", &item.delete),
        ];
        let methods = operations.into_iter().filter(|(_, operation)| operation.is_some());
        list.extend(methods.map(|(method, _)| (method.to_owned(), path.clone())));
    }
    list
}

#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "status", security(()),
    responses((status = 200, content_type = "application/json", body = String)))]
pub(super) async fn document() -> Answer {
    match TEXT.as_ref() {
        Ok(text) => Ok(Reply::document(OK, text.clone())),
        Err(error) => Err(super::error::internal(error)),
    }
}
