//! Standings: what has to be expected of a site as a seller, and why.

use chandler_api::market::Standing;

use super::exact;
use crate::problem::Failure;
use crate::session::Session;
use crate::show::Facts;

pub(super) async fn run(session: &Session, site: &str) -> Result<(), Failure> {
    let standing = session.client()?.standing(site).await?;
    session.out.object(&standing, || text(&standing))
}

fn text(s: &Standing) -> String {
    let risk = &s.risk_of_hundred;
    let mut facts = Facts::default();
    facts
        .add("site", &s.site)
        .add("seller", s.partner.as_deref().unwrap_or("this controller"))
        .add("broken", format!("{} probable in a month", s.breach.0))
        .add("lost", format!("{} probable in a month", s.loss.0))
        .add("counts as", format!("{} {} more for each 100 of its price", exact(risk), risk.currency))
        .add("seen", format!("{} observations", s.observations));
    for reason in &s.reasons {
        facts.add("why", reason);
    }
    facts.to_string()
}
