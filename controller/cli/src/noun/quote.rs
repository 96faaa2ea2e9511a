//! `chandler quote`: price and predicted attributes of an order, without ordering.

use chandler_api::problem::{INFEASIBLE, Problem};
use chandler_api::quote::Quote as Answer;
use chandler_api::sla::Predicted;
use clap::Args;

use super::order::FileArgs;
use crate::problem::{Again, Failure, brief};
use crate::session::Session;
use crate::show::Facts;
use crate::upload;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  chandler quote -f notes.toml\n  chandler quote -f notes.toml --set sla.interactivity.p95=\"20 ms\""
)]
pub(crate) struct Quote {
    #[command(flatten)]
    file: FileArgs,
}

impl Quote {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut order = self.file.read()?;
        upload::inputs(session, &mut order.request, &order.base).await?;
        let again = Again::Set(self.file.command("chandler quote"));
        let quote =
            session.client()?.quote(&order.request).await.map_err(|e| Failure::from(e).or_again(again.clone()))?;
        if quote.feasible {
            session.out.object(&quote, || text(&quote))?;
            session.out.talk(&format!("Next: {}", self.file.command("chandler order submit")));
            return Ok(());
        }
        if session.out.is_json() {
            session.out.object(&quote, String::new)?;
        }
        let problem = Problem { nearest: quote.options, ..Problem::new(INFEASIBLE, quote.reason) };
        Err(Failure::from(problem).or_again(again))
    }
}

fn text(quote: &Answer) -> String {
    let mut facts = Facts::default();
    if let Some(predicted) = &quote.predicted {
        attributes(&mut facts, predicted);
    }
    facts.add("hosts", quote.hosts.join(", ")).add("why", &quote.reason);
    for (i, option) in quote.options.iter().enumerate() {
        let sentence = if option.text.is_empty() { brief(option) } else { option.text.clone() };
        facts.add(if i == 0 { "or" } else { "" }, sentence);
    }
    facts.to_string()
}

/// Lines for what to expect.
pub(crate) fn attributes(facts: &mut Facts, predicted: &Predicted) {
    let p95 = predicted.p95_micros.map_or_else(|| "not measured".to_owned(), |t| t.to_string());
    facts
        .add("cost", format!("{}/month", predicted.monthly_cost))
        .add("p95", p95)
        .add("availability", predicted.availability_ppm.to_string());
}
