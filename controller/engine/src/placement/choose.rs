//! Choosing: the cheapest hosts that meet the SLA together, and in words why no others.

use super::filter::Ask;
use super::search::{Fit, cheapest, predicted, solve, survey};
use super::{Candidate, HostView, Outcome, Refusal, Refused, Request, alternatives, wording};
use crate::availability::of_any;
use crate::sla::Predicted;

/// Places a request on the fleet. Deterministic; the order of `hosts` does not matter.
pub fn place(hosts: &[HostView<'_>], request: &Request<'_>) -> Outcome {
    let ask = Ask::new(request);
    let mut all: Vec<&HostView<'_>> = hosts.iter().collect();
    all.sort_by_key(|view| view.host.id);
    let survey = survey(&all, &ask);
    let refused: Vec<Refused> =
        survey.misfits.iter().map(|(view, misfit)| wording::refused(view, *misfit, &ask)).collect();
    let chosen = cheapest(&survey.fits, &ask);
    let refusal = match chosen {
        Some(_) => None,
        None => Some(refusal(&all, &survey.fits, &refused, &ask)),
    };
    let is_chosen = |i| chosen.as_ref().is_some_and(|c| c.contains(&i));
    Outcome {
        candidates: survey.fits.iter().enumerate().map(|(i, fit)| candidate(fit, is_chosen(i))).collect(),
        refused,
        predicted: chosen.as_ref().map(|c| predicted(&survey.fits, c)),
        refusal,
    }
}

/// Whether [`place`] would choose something: the same answer without the words, for those who only wait.
pub fn is_placeable(hosts: &[HostView<'_>], request: &Request<'_>) -> bool {
    let mut all: Vec<&HostView<'_>> = hosts.iter().collect();
    all.sort_by_key(|view| view.host.id);
    solve(&all, &Ask::new(request)).is_some()
}

fn refusal(all: &[&HostView<'_>], fits: &[Fit<'_, '_>], refused: &[Refused], ask: &Ask<'_>) -> Refusal {
    let is_full = refused.iter().any(|r| r.rule == super::Rule::Capacity);
    if is_full && solve(all, &Ask { empty: true, ..*ask }).is_some() {
        let nearest = alternatives::nearest_single(all, ask);
        return Refusal::NoCapacity { text: wording::no_capacity(all.len(), refused), nearest };
    }
    let nearest = alternatives::nearest(all, ask);
    Refusal::Infeasible { text: wording::infeasible(all, fits, refused, ask), nearest }
}

fn candidate(fit: &Fit<'_, '_>, chosen: bool) -> Candidate {
    let view = fit.view;
    Candidate {
        host: view.host.id,
        host_name: view.host.name.clone(),
        site: view.host.site,
        site_name: view.site_name.to_owned(),
        role: view.role,
        price: fit.price,
        predicted: Predicted {
            monthly_cost: fit.price.total(),
            p95: fit.p95,
            availability: of_any(&[view.availability]),
        },
        rates: view.rates,
        chosen,
    }
}
