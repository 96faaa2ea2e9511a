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

/// How a running copy's hosts and those that could take its place stand: without words for hosts that nobody asked
/// about.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Hosts that meet every rule, best first; at most as many as were asked for, and in any case the current ones.
    pub candidates: Vec<Candidate>,
    /// The current hosts that do not.
    pub unfit: Vec<Refused>,
    /// Of the other hosts that do not, the nearest to fitting.
    pub nearest: Option<Refused>,
}

/// Where else a service that runs could be, host by host.
pub fn standing(hosts: &[HostView<'_>], request: &Request<'_>, most: usize) -> Standing {
    let ask = Ask::new(request);
    let mut all: Vec<&HostView<'_>> = hosts.iter().collect();
    all.sort_by_key(|view| view.host.id);
    let survey = survey(&all, &ask);
    let is_current = |view: &HostView<'_>| request.current.contains(&view.host.id);
    let fits = survey.fits.iter().enumerate().filter(|(i, f)| *i < most || is_current(f.view));
    let candidates = fits.map(|(_, fit)| candidate(fit, is_current(fit.view))).collect();
    let (here, elsewhere): (Vec<_>, Vec<_>) = survey.misfits.into_iter().partition(|(view, _)| is_current(view));
    let distance = |(view, misfit): &(&HostView<'_>, _)| (wording::distance(*misfit, &ask), view.host.id);
    let nearest = elsewhere.into_iter().min_by_key(distance);
    Standing {
        candidates,
        unfit: here.iter().map(|(view, misfit)| wording::refused(view, *misfit, &ask)).collect(),
        nearest: nearest.map(|(view, misfit)| wording::refused(view, misfit, &ask)),
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
        risk: fit.risk,
        predicted: Predicted {
            monthly_cost: fit.price.total(),
            p95: fit.p95,
            availability: of_any(&[view.availability]),
        },
        rates: view.rates,
        chosen,
    }
}
