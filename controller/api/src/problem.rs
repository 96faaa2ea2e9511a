//! Errors as the API tells them: `application/problem+json` (RFC 9457) with a stable code.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::quote::Alternative;

/// An error. `type` and `code` are stable; `detail` says what to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// Identifies the kind of error: `urn:chandler:error:E0301`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What kind of error it is; the same text each time.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened here and what to do about it.
    pub detail: String,
    /// A stable code; `chandler help CODE` explains it.
    pub code: String,
    /// The fields that are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// For an SLA that no host meets: the nearest that can be met.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nearest: Vec<Alternative>,
    /// Identifies the request in the controller's log.
    #[serde(default)]
    pub request_id: String,
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldError {
    /// Where, as dotted path: `sla.cost.max`.
    pub pointer: String,
    /// What is wrong and what to write.
    pub detail: String,
}

/// A stable error code: what it means, its HTTP status, and the exit status of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// For instance `E0301`.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Exit status of `chandler`.
    pub exit: u8,
    /// The constant title.
    pub title: &'static str,
    /// What it means and what to do, for `chandler help CODE`.
    pub help: &'static str,
}

macro_rules! codes {
    ($($name:ident $code:literal $status:literal $exit:literal $title:literal $help:literal;)*) => {
        $(#[doc = $title] pub const $name: Code =
            Code { code: $code, status: $status, exit: $exit, title: $title, help: $help };)*
        /// Every code, in order.
        pub const CODES: &[Code] = &[$($name),*];
    };
}

codes! {
    INTERNAL "E0100" 500 1 "the controller failed"
        "An error of the controller itself. Nothing of the request was done. The log names the cause under the request id.";
    UNREACHABLE "E0107" 503 9 "cannot reach the controller"
        "Start the controller, or set CHANDLER_URL or --url to where it listens.";
    UNAVAILABLE "E0108" 503 9 "the store takes no writes"
        "The disk is full or failing. Nothing was acknowledged. Make room; the controller recovers by itself.";
    BAD_REQUEST "E0110" 400 1 "the request is malformed"
        "The body or a parameter cannot be read. The errors name the field.";
    INVALID "E0111" 422 1 "a value is not allowed"
        "The request can be read, but a value is out of range or does not fit another. The errors name the field and what to write.";
    TOO_LARGE "E0112" 413 1 "the request is too large"
        "Send a smaller body.";
    NOT_SIGNED_IN "E0120" 401 4 "sign in first"
        "Give a token: CHANDLER_TOKEN, --token-file, or chandler login. The first start of a controller writes admin.token in its data directory.";
    FORBIDDEN "E0121" 403 4 "your role may not do this"
        "Ask an operator, or use a token of a role that may.";
    NOT_FOUND "E0130" 404 5 "there is no such thing"
        "Check the name or id with the list command. Things of other customers are not found either.";
    CONFLICT "E0140" 409 6 "it conflicts with what is there"
        "The name is taken, or the thing is in a state that does not allow this.";
    STALE "E0141" 412 6 "it has changed since you read it"
        "Read it again and repeat the change on what is there now.";
    NO_PRECONDITION "E0142" 428 6 "say which version you change"
        "Send If-Match with the ETag of what you read.";
    KEY_REUSED "E0143" 422 6 "the idempotency key was used for another request"
        "Use a new key for a new request.";
    KEY_MISSING "E0144" 400 2 "send an Idempotency-Key"
        "Every POST carries a key chosen by the client, so that it can be repeated safely.";
    PAGE_EXPIRED "E0145" 400 1 "the page token is not valid"
        "Start again from the first page.";
    JOIN_UNKNOWN "E0201" 403 4 "the join string is unknown, used up or expired"
        "Make a new one: chandler join-token create --site SITE.";
    JOIN_BAD_REQUEST "E0202" 400 4 "the join request is malformed"
        "The certificate request cannot be read or is not signed by its own key.";
    REVOKED "E0203" 403 4 "this host's identity was revoked"
        "Join again with a new join string.";
    VERSION "E0204" 426 1 "no common protocol version"
        "Upgrade the older side; two versions back always work.";
    DUPLICATE_IDENTITY "E0205" 409 1 "one key is used in two places"
        "A disk was copied. Join one of the two again with a new join string.";
    WRONG_ROLE "E0206" 403 4 "a certificate of this role may not use this listener"
        "An agent's certificate is good for the agent listener and nothing else.";
    NOT_A_JOIN_STRING "E0210" 400 2 "that is not a join string"
        "Give the whole text that chandler join-token create printed: chandler-agent run --join-file FILE.";
    AGENT_UNREACHABLE "E0211" 503 9 "the agent cannot reach the controller"
        "Start the controller, or let UDP to its --quic address through. chandler-agent doctor measures the way.";
    WRONG_AUTHORITY "E0212" 403 4 "another controller answers than the join string names"
        "Ask for a new join string, or find out who answers at that address.";
    NOT_JOINED "E0213" 409 4 "this computer has not joined a controller"
        "chandler-agent run --join-file FILE, with a string from chandler join-token create.";
    AGENT_IN_USE "E0214" 409 6 "another agent runs with this data directory"
        "Stop it, or give another --data-dir.";
    AGENT_SETTINGS "E0215" 400 2 "the agent's settings are wrong"
        "The message names the file and the key.";
    AGENT_DATA "E0216" 500 1 "the agent's data directory cannot be used"
        "Give --data-dir, or the right to write there.";
    AGENT_DISK "E0217" 500 1 "what the agent keeps on disk cannot be read or written"
        "The message names it. If it is damaged, join again with a new join string and a new --data-dir.";
    AGENT_IDENTITY "E0218" 500 1 "the agent's key or certificate cannot be used"
        "Join again with a new join string and a new --data-dir.";
    AGENT_TASK "E0219" 500 1 "a part of the agent ended unexpectedly"
        "An error of the agent itself; its software runs on. Start the agent again.";
    INFEASIBLE "E0301" 422 7 "no host meets all of this SLA"
        "No host meets all that was asked, even when empty. Where a changed term would help, the nearest offers are listed; otherwise the cause names what no host has.";
    NO_CAPACITY "E0302" 409 7 "the hosts that fit are full"
        "The SLA can be met, but not now. Wait, make the order smaller, or take one of the nearest offers.";
    MOVE_REFUSED "E0310" 422 7 "it cannot go there"
        "The place does not meet the service's SLA, policy or limits, is full, or takes no new work. The cause names the rule, and the nearest host that fits where there is one. Change the SLA or policy, or choose another place.";
    MOVE_NOT_NOW "E0311" 409 6 "it may not move now"
        "Only what runs can be moved, and a move that is being switched ends first. Look: chandler move list --service NAME.";
    MOVE_THERE "E0312" 409 6 "it runs there already"
        "Name another host, site or owner.";
    CANNOT_DRAIN "E0313" 409 6 "it cannot be drained"
        "The host's identity was revoked: nothing runs there any more, and nothing can.";
    NOT_A_DESTINATION "E0314" 404 5 "there is no such destination"
        "Name a host, a site, or an owner: customer, provider or remote. Computers of other customers are not found either. chandler service explain NAME lists the hosts that fit.";
    NOT_AN_ARTIFACT "E0401" 404 5 "there is no such artifact"
        "Publish it first: chandler artifact publish PATH --name N --version V.";
    DIGEST_MISMATCH "E0402" 422 1 "the content is not what its digest says"
        "It was damaged on the way. Send it again.";
    NOT_AN_INVITATION "E0410" 400 2 "that is not an invitation"
        "Give the whole text that chandler partner invite printed there: chandler partner accept --invitation-file FILE --name NAME --may buy.";
    INVITATION_REFUSED "E0411" 403 4 "the invitation is unknown, used, withdrawn or expired"
        "Ask the partner for a new one: chandler partner invite NAME --may buy.";
    OWN_PARTNER "E0412" 422 6 "a controller cannot be its own partner"
        "An invitation is accepted at another controller. Check --url.";
    PARTNER_TAKEN "E0413" 409 6 "another partner has this identity"
        "A bundle is good for one partner. Look: chandler partner list. End the other partnership first, or use its name.";
    NOT_LISTENING "E0414" 409 6 "this controller does not listen for partners"
        "Start it with --federation ADDR (or federation in its settings). A controller that only buys needs none.";
    PARTNER_UNREACHABLE "E0415" 503 9 "the partner cannot be reached"
        "Its controller is down, or the way to its federation address is closed. chandler partner show NAME tells the address.";
    NOT_THE_PARTNER "E0416" 403 4 "another controller answers than the partner"
        "Its certificate does not lead to the CA that is pinned for it. If its CA was rotated, ask for its bundle by a way you trust, compare the fingerprint, and pin it: chandler partner trust NAME --bundle FILE. If not, find out who answers at that address.";
    NOT_A_PARTNER "E0417" 403 4 "no active partner has this certificate"
        "The other controller does not know yours, or pins another CA of it. Its operator pins yours: chandler partner bundle here, chandler partner trust NAME --bundle FILE there.";
    PARTNER_CUT "E0418" 403 4 "the partnership is suspended or over"
        "Its operator says why: chandler partner show NAME. chandler partner resume NAME ends a suspension.";
    OUT_OF_SCOPE "E0419" 403 4 "a partner may not do this here"
        "Each side says what the other may: buy, sell or both. chandler partner show NAME.";
    NOT_A_BUNDLE "E0420" 422 1 "that is not a bundle of CA certificates"
        "Give what chandler partner bundle prints at the partner: one to four CA certificates of one trust domain, in PEM.";
    NO_MACHINES "E0430" 409 6 "this controller has no machines of its own"
        "It runs as a virtual provider or a marketplace only. Start it with --role provider or --role valueAdded too (or roles in its settings) to let it have sites of role provider.";
    NO_MARKETPLACE "E0431" 409 6 "this controller is no marketplace"
        "Remote sites sell to partners through a marketplace only. Start the controller with --role marketplace (or roles in its settings) beside what it is.";
    NOT_OFFERABLE "E0432" 409 6 "machines of this site cannot be offered"
        "A customer's own computers are for that customer, and what a partner sells is offered by that partner. Offer sites of role provider or remote.";
    OFFERED_ALREADY "E0433" 409 6 "the machines of this site are offered already"
        "One machine is sold under one offer. Change the one that is there (chandler market set OFFER), or take it back first (chandler market withdraw OFFER).";
    OFFER_OVER "E0434" 409 6 "the offer is over"
        "Nothing follows once an offer is withdrawn or expired. Post a new one: chandler market post --site SITE ...";
    DISPUTE_OVER "E0440" 409 6 "the dispute is decided"
        "Nothing can be said or offered any more; both books hold the decision: chandler dispute show ID.";
    DISPUTE_FULL "E0441" 409 6 "enough was said about the dispute"
        "Each side has a few statements. Say what you would settle for: chandler dispute decide ID --to-seller AMOUNT.";
    NOT_MATCHED "E0442" 409 6 "the month cannot be settled"
        "A month is settled once it is over, every receipt of it is countersigned, and nothing is held: chandler statement settlement PARTNER --month MONTH shows what is missing.";
    WAIT_TIMED_OUT "E0501" 504 8 "the wait timed out; the work goes on"
        "Look again with the show command.";
}

/// The code with this text, if there is one.
pub fn code(text: &str) -> Option<&'static Code> {
    CODES.iter().find(|c| c.code.eq_ignore_ascii_case(text))
}

impl Problem {
    /// A problem of this code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:chandler:error:{}", code.code),
            title: code.title.to_owned(),
            status: code.status,
            detail: detail.into(),
            code: code.code.to_owned(),
            ..Self::default()
        }
    }

    /// A value that is not allowed, in one field.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let (pointer, detail) = (pointer.into(), detail.into());
        let mut problem = Self::new(INVALID, format!("{pointer}: {detail}"));
        problem.errors.push(FieldError { pointer, detail });
        problem
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.detail, self.code)
    }
}

impl std::error::Error for Problem {}
