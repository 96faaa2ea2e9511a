//! Why a service is where it is, and not elsewhere: the decision as it was taken.

use axum::extract::{Path, State};
use chandler_api::service::{Candidate, Coverage, Explanation, FunnelStep, Gap, Refused};
use chandler_api::value::{Money, Time};
use chandler_engine::federation::{self, Covered};
use chandler_engine::placement::Decision;

use crate::api::access::Caller;
use crate::api::error::{conflict, internal};
use crate::api::reply::{Answer, OK, Reply};
use crate::api::{Api, site, sla};

#[utoipa::path(get, path = "/api/v1/services/{reference}/explain", tag = "services",
    params(("reference" = String, Path, description = "name or id")), responses((status = 200, body = Explanation)))]
pub(in crate::api) async fn show(State(api): Api, caller: Caller, Path(reference): Path<String>) -> Answer {
    let model = api.writer.snapshot();
    let service = super::find(&model, caller, &reference)?;
    let id = service.decision.ok_or_else(|| {
        conflict(format!("nothing was decided about {} yet: {}", service.name, service.status.as_str()))
    })?;
    let decision = api.writer.store().decision(id).await?;
    let decision = decision.ok_or_else(|| internal(format!("decision {id} is not in the store")))?;
    let covered = federation::coverage(&model, service.id, api.writer.clock().now());
    let coverage = covered.filter(|_| caller.is_operator()).map(|c| shown_coverage(&c, &model.currency));
    let decided = shown(&decision, &model.currency);
    // What it waits for now comes first: where it is was decided before that.
    let now = if service.reason.is_empty() { String::new() } else { format!("{}; ", service.reason) };
    Reply::json(OK, &Explanation { coverage, text: format!("{now}{}", decided.text), ..decided })
}

fn shown(decision: &Decision, currency: &str) -> Explanation {
    let candidates = decision.candidates.iter().map(|c| {
        let added = chandler_protocol::MicroMoney(c.price.margin.0.saturating_add(c.price.management.0));
        Candidate {
            host: c.host_name.clone(),
            site: c.site_name.clone(),
            site_role: site::shown_role(c.role),
            rate_month: Money::new(c.price.cost, currency),
            fee_month: Money::new(added, currency),
            price_month: Money::new(c.price.total(), currency),
            predicted: sla::predicted(c.predicted, currency),
            chosen: c.chosen,
        }
    });
    let refused = decision.refused.iter().map(|r| Refused {
        host: r.host_name.clone(),
        site: r.site_name.clone(),
        rule: r.rule.as_str().to_owned(),
        reason: r.reason.clone(),
        would_fit: r.would_fit.clone(),
    });
    Explanation {
        decision: decision.id,
        at: Time(decision.at),
        rules: decision.rules,
        snapshot: decision.snapshot,
        trigger: decision.trigger.as_str().to_owned(),
        considered: decision.considered,
        funnel: decision
            .funnel
            .iter()
            .map(|(rule, refused)| FunnelStep { rule: rule.as_str().to_owned(), refused: *refused })
            .collect(),
        candidates: candidates.collect(),
        refused: refused.collect(),
        nearest_miss: decision.nearest_miss.clone(),
        text: decision.text.clone(),
        coverage: None,
    }
}

/// What a provider owes and nobody owes it: for its operators, not for its customers.
fn shown_coverage(covered: &Covered, currency: &str) -> Coverage {
    let gaps = covered.coverage.gaps.iter().map(|gap| Gap {
        attribute: gap.attribute.as_str().to_owned(),
        risk: Money::new(gap.risk, currency),
        text: gap.text.clone(),
    });
    Coverage { covered: covered.coverage.covered, risk: Money::new(covered.risk, currency), gaps: gaps.collect() }
}
