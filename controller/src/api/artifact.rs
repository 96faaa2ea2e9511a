//! Artifacts: software by the hash of its content; and blobs, the inputs of tasks.

use axum::extract::{Path, Request, State};
use axum::http::Uri;
use chandler_api::artifact::{Artifact as Shown, ArtifactPublish, Blob};
use chandler_api::page::{Page, PageQuery};
use chandler_api::problem::{NOT_AN_ARTIFACT, Problem};
use chandler_api::value::{Size, Time};
use chandler_engine::event::Noun;
use chandler_engine::model::{Artifact, Model};
use chandler_protocol::text::is_name;
use chandler_protocol::{Bytes, Digest};

use super::Api;
use super::access::Caller;
use super::body::query;
use super::error::{Failure, Fields, conflict, malformed, not_found};
use super::idempotency::{Begun, begin_bodiless};
use super::page::Wanted;
use super::party::NAME_FORM;
use super::reply::{Answer, CREATED, OK, Reply};
use super::upload;

/// How many names are offered in place of a wrong one.
const NEAREST: usize = 3;
/// Most artifacts that are compared with a wrong name.
const COMPARED_MAX: usize = 2_000;

#[utoipa::path(get, path = "/api/v1/artifacts", tag = "artifacts", params(PageQuery),
    responses((status = 200, body = Page<Shown>)))]
pub(super) async fn list(State(api): Api, uri: Uri) -> Answer {
    let wanted = Wanted::new("artifacts", &query(&uri)?)?;
    let after = wanted.after::<String>()?;
    let model = api.writer.snapshot();
    // The key is name and version, apart by a character that neither has.
    let key = |a: &Artifact| format!("{}@{}", a.name, a.version);
    let after = after.as_deref().and_then(|k| k.split_once('@')).map(|(n, v)| (n.to_owned(), v.to_owned()));
    let artifacts = model.artifacts.iter().filter(|(k, _)| after.as_ref().is_none_or(|a| *k > a)).map(|(_, a)| a);
    Reply::json(OK, &wanted.take(artifacts, |a| key(a), |a| shown(a)))
}

#[utoipa::path(get, path = "/api/v1/artifacts/{name}/{version}", tag = "artifacts",
    params(("name" = String, Path, description = "its name"), ("version" = String, Path, description = "its version")),
    responses((status = 200, body = Shown)))]
pub(super) async fn show(State(api): Api, Path((name, version)): Path<(String, String)>) -> Answer {
    let model = api.writer.snapshot();
    match model.artifacts.get(&(name.clone(), version.clone())) {
        Some(artifact) => Reply::json(OK, &shown(artifact)),
        None => Err(Problem::new(NOT_AN_ARTIFACT, missing(&model, &name, &version)).into()),
    }
}

#[utoipa::path(post, path = "/api/v1/artifacts", tag = "artifacts", params(ArtifactPublish),
    request_body(content = inline(Vec<u8>), content_type = "application/x-tar"),
    responses((status = 201, body = Shown)))]
pub(super) async fn publish(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin_bodiless(&api, caller, &parts).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let what: ArtifactPublish = query(&parts.uri)?;
    let mut fields = Fields::default();
    for (pointer, value) in [("name", &what.name), ("version", &what.version), ("platform", &what.platform)] {
        fields.check(is_name(value), pointer, NAME_FORM);
    }
    fields.finish()?;
    // Asked before the content travels; asked again when it is entered.
    published(&api.writer.snapshot(), &what)?;
    let manifest = upload::receive(&api, &parts.headers, body, what.digest).await?;
    if manifest.length == 0 {
        return Err(malformed("the body is empty: send the tar archive"));
    }
    post.commit(&api, move |draft| {
        if let Some(there) = published(&draft.model, &what)? {
            return Reply::json(CREATED, &there);
        }
        let artifact = Artifact {
            name: what.name,
            version: what.version,
            platform: what.platform,
            digest: manifest.digest,
            length: manifest.length,
            published_at: draft.now,
        };
        let id = format!("{}@{}", artifact.name, artifact.version);
        let reason = format!("{} for {}", Bytes(artifact.length), artifact.platform);
        draft.event((Noun::Artifact, id.clone(), &id), "", "published", reason);
        let reply = Reply::json(CREATED, &shown(&artifact));
        draft.put(artifact);
        reply
    })
    .await
}

/// The artifact when it was published before with the same content; refused when with another.
fn published(model: &Model, what: &ArtifactPublish) -> Result<Option<Shown>, Failure> {
    let Some(there) = model.artifacts.get(&(what.name.clone(), what.version.clone())) else { return Ok(None) };
    if there.digest != what.digest || there.platform != what.platform {
        let (name, version) = (&what.name, &what.version);
        return Err(conflict(format!(
            "{name}@{version} is published already with other content, and a version never changes: publish another"
        )));
    }
    Ok(Some(shown(there)))
}

#[utoipa::path(get, path = "/api/v1/blobs/{digest}", tag = "artifacts",
    params(("digest" = String, Path, description = "BLAKE3 of the content")), responses((status = 200, body = Blob)))]
pub(super) async fn blob(State(api): Api, Path(digest): Path<String>) -> Answer {
    let known: Digest = digest.parse().map_err(|_| not_found("blob", &digest))?;
    match upload::manifest(&api.blobs, known).await? {
        Some(manifest) => Reply::json(OK, &Blob { digest: known, length: manifest.length }),
        None => Err(not_found("blob", &digest)),
    }
}

#[utoipa::path(put, path = "/api/v1/blobs/{digest}", tag = "artifacts",
    params(("digest" = String, Path, description = "BLAKE3 of the content")),
    request_body(content = inline(Vec<u8>), content_type = "application/octet-stream"),
    responses((status = 200, body = Blob)))]
pub(super) async fn blob_put(State(api): Api, Path(digest): Path<String>, request: Request) -> Answer {
    let digest: Digest =
        digest.parse().map_err(|e: chandler_protocol::unit::ParseUnitError| malformed(e.to_string()))?;
    let (parts, body) = request.into_parts();
    let manifest = upload::receive(&api, &parts.headers, body, digest).await?;
    Reply::json(OK, &Blob { digest, length: manifest.length })
}

/// There is no such artifact; names what comes near.
pub(super) fn missing(model: &Model, name: &str, version: &str) -> String {
    let wanted = chandler_protocol::text::clean(&format!("{name}@{version}"), 129);
    let mut near: Vec<_> = model
        .artifacts
        .keys()
        .take(COMPARED_MAX)
        .map(|(n, v)| format!("{n}@{v}"))
        .map(|there| (distance(&wanted, &there), there))
        .collect();
    near.sort();
    let names: Vec<_> = near.into_iter().take(NEAREST).map(|(_, there)| there).collect();
    match names.is_empty() {
        true => format!("there is no artifact {wanted}; none is published yet: chandler artifact publish"),
        false => format!("there is no artifact {wanted}; published: {}", names.join(", ")),
    }
}

/// How many letters differ (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, above) in b.iter().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = *above;
            left = replaced.min(left + 1).min(*above + 1);
            *above = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

fn shown(artifact: &Artifact) -> Shown {
    Shown {
        name: artifact.name.clone(),
        version: artifact.version.clone(),
        platform: artifact.platform.clone(),
        digest: artifact.digest,
        size: Size(Bytes(artifact.length)),
        published_at: Time(artifact.published_at),
    }
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        for (a, b, expect) in
            [("", "", 0), ("a", "", 1), ("", "abc", 3), ("notes", "notes", 0), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), expect, "{a} {b}");
        }
    }
}
