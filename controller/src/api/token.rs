//! Secrets that are handed out: API tokens and join strings. The controller keeps their hashes only.

use axum::extract::{Path, Request, State};
use chandler_api::token::{JoinTokenCreate, JoinTokenCreated, Role as ShownRole, TokenCreate, TokenCreated};
use chandler_api::value::Time;
use chandler_engine::draft::Draft;
use chandler_engine::event::Noun;
use chandler_engine::identity::{JoinToken, Role, Token};
use chandler_engine::model::Change;
use chandler_engine::party::PartyRole;
use chandler_protocol::{Digest, Micros, PartyId, TokenId};

use super::Api;
use super::access::{Caller, role_text, secret_hash};
use super::body::DOCUMENT_MAX;
use super::error::{Failure, Fields, conflict, not_found};
use super::idempotency::{Begun, begin};
use super::reply::{Answer, CREATED, Reply};
use super::{party, site};

/// What every API token starts with, so that it is known for what it is where it leaks.
const TOKEN_PREFIX: &str = "cht1_";
/// Random bytes of an API token.
const TOKEN_BYTES: usize = 32;
/// Most computers that may join with one string.
const USES_MAX: u32 = 10_000;
/// Longest life of a join string.
const LIFE_MAX: Micros = Micros::from_secs(30 * 86_400);

#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = TokenCreate,
    responses((status = 201, body = TokenCreated)))]
pub(super) async fn create(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: TokenCreate = post.parse()?;
    let mut bytes = [0; TOKEN_BYTES];
    api.writer.random().fill(&mut bytes);
    let secret = format!("{TOKEN_PREFIX}{}", data_encoding::BASE32_NOPAD.encode(&bytes).to_ascii_lowercase());
    post.commit_secret(&api, move |draft| make(draft, caller, &wanted, secret)).await
}

fn make(draft: &mut Draft<'_>, caller: Caller, wanted: &TokenCreate, secret: String) -> Answer {
    let (role, needed) = match wanted.role {
        ShownRole::Operator => (Role::Operator, None),
        ShownRole::Customer => (Role::Customer, Some(PartyRole::Customer)),
        ShownRole::SiteOwner => (Role::SiteOwner, Some(PartyRole::SiteOwner)),
    };
    let party = party_of(draft, caller, wanted, needed)?;
    let token =
        Token { id: TokenId::from_random(draft.id()), secret_hash: secret_hash(secret.as_bytes()), role, party };
    draft.event((Noun::Token, token.id.to_string(), ""), "", "created", format!("role {}", role_text(role)));
    let reply = Reply::json(CREATED, &TokenCreated { id: token.id, secret });
    draft.put(token);
    reply
}

/// The party a token shall act for.
fn party_of(
    draft: &Draft<'_>,
    caller: Caller,
    wanted: &TokenCreate,
    needed: Option<PartyRole>,
) -> Result<Option<PartyId>, Failure> {
    let mut fields = Fields::default();
    let party = match (needed, wanted.party.as_deref()) {
        (None, None) => None,
        (None, Some(_)) => {
            fields.wrong("party", "an operator's token acts for nobody: leave it out");
            None
        }
        (Some(_), None) => {
            fields.wrong("party", "write the name of the party it acts for");
            None
        }
        (Some(needed), Some(reference)) => match party::find(&draft.model, caller, reference) {
            Err(_) => {
                fields.wrong("party", "there is no such party: chandler party list");
                None
            }
            Ok(found) => {
                fields.check(found.roles.contains(&needed), "party", format!("{} has not that role", found.name));
                Some(found.id)
            }
        },
    };
    fields.finish()?;
    Ok(party)
}

#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens",
    params(("id" = String, Path, description = "id")), responses((status = 204)))]
pub(super) async fn delete(State(api): Api, caller: Caller, Path(id): Path<String>) -> Answer {
    api.transact(caller, move |draft| {
        let token = id.parse::<TokenId>().ok().and_then(|id| draft.model.tokens.get(&id).cloned());
        let token = token.ok_or_else(|| not_found("token", &id))?;
        let operators = draft.model.tokens.values().filter(|t| t.role == Role::Operator).count();
        if token.role == Role::Operator && operators == 1 {
            return Err(conflict("it is the last operator's token: nobody could make another"));
        }
        draft.event((Noun::Token, token.id.to_string(), ""), "created", "deleted", "");
        draft.put(Change::RemoveToken(token.id));
        Ok(Reply::empty())
    })
    .await
}

#[utoipa::path(post, path = "/api/v1/joinTokens", tag = "tokens", request_body = JoinTokenCreate,
    responses((status = 201, body = JoinTokenCreated)))]
pub(super) async fn join_create(State(api): Api, caller: Caller, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    let post = match begin(&api, caller, &parts, body, DOCUMENT_MAX).await? {
        Begun::Before(reply) => return Ok(reply),
        Begun::New(post) => post,
    };
    let wanted: JoinTokenCreate = post.parse()?;
    let mut fields = Fields::default();
    fields.check((1..=USES_MAX).contains(&wanted.uses), "uses", format!("write a number from 1 to {USES_MAX}"));
    let life = wanted.expires.0;
    fields.check((1_000_000..=LIFE_MAX.0).contains(&life.0), "expires", "write a duration from 1 s to 30 d");
    fields.finish()?;
    let mut secret = [0; 16];
    api.writer.random().fill(&mut secret);
    let authority = api.authority.clone();
    post.commit_secret(&api, move |draft| {
        let site = site::find(&draft.model, caller, &wanted.site)?.clone();
        let expires_at = draft.now.after(life);
        let token = JoinToken { secret_hash: secret_hash(&secret), site: site.id, uses_left: wanted.uses, expires_at };
        let subject = Digest(token.secret_hash).to_string();
        let reason = format!("{} uses within {life}", wanted.uses);
        draft.event((Noun::Token, subject, &site.name), "", "created", reason);
        draft.put(token);
        Reply::json(
            CREATED,
            &JoinTokenCreated {
                join: authority.join_string(secret, draft.now).to_text(),
                expires_at: Time(expires_at),
                uses: wanted.uses,
                site: site.name,
            },
        )
    })
    .await
}
