//! Collected files of task items.

use axum::extract::{Path, State};
use axum::response::Response;

use crate::api::access::Caller;
use crate::api::error::{Failure, not_found};
use crate::api::{Api, upload};

#[utoipa::path(get, path = "/api/v1/services/{reference}/outputs/{path}", tag = "services",
    params(("reference" = String, Path, description = "id, or the name of a task with one item"),
        ("path" = String, Path, description = "path inside the working directory; stdout and stderr are the logs")),
    responses((status = 200, content_type = "application/octet-stream", body = inline(Vec<u8>))))]
pub(in crate::api) async fn download(
    State(api): Api,
    caller: Caller,
    Path((reference, path)): Path<(String, String)>,
) -> Result<Response, Failure> {
    let model = api.writer.snapshot();
    let service = super::find(&model, caller, &reference)?;
    let output = service.outputs.iter().find(|o| o.path == path).ok_or_else(|| not_found("output", &path))?;
    upload::send(&api, output.digest).await?.ok_or_else(|| not_found("output", &path))
}
