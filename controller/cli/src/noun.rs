//! One module a noun: its verbs, their arguments, and how their results are shown.

pub(crate) mod artifact;
pub(crate) mod bill;
pub(crate) mod completions;
pub(crate) mod criteria;
pub(crate) mod dispute;
pub(crate) mod drain;
pub(crate) mod event;
pub(crate) mod help;
pub(crate) mod host;
pub(crate) mod join_token;
pub(crate) mod ledger;
pub(crate) mod login;
pub(crate) mod man;
pub(crate) mod market;
pub(crate) mod movement;
pub(crate) mod offering;
pub(crate) mod order;
pub(crate) mod partner;
pub(crate) mod party;
pub(crate) mod quote;
mod rates;
pub(crate) mod receipt;
pub(crate) mod service;
pub(crate) mod settings;
pub(crate) mod site;
pub(crate) mod sla;
pub(crate) mod statement;
pub(crate) mod status;
pub(crate) mod token;

use std::str::FromStr;

use chandler_api::value::Money;
use chandler_protocol::MicroMoney;
use chandler_protocol::unit::decimal;

use crate::args::Command;
use crate::problem::Failure;
use crate::session::Session;

pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Status(c) => c.run(session).await,
        Command::Order(c) => c.run(session).await,
        Command::Quote(c) => c.run(session).await,
        Command::Service(c) => c.run(session).await,
        Command::Move(c) => c.run(session).await,
        Command::Sla(c) => c.run(session).await,
        Command::Host(c) => c.run(session).await,
        Command::Site(c) => c.run(session).await,
        Command::Criteria(c) => c.run(session).await,
        Command::Party(c) => c.run(session).await,
        Command::Partner(c) => c.run(session).await,
        Command::Market(c) => c.run(session).await,
        Command::JoinToken(c) => c.run(session).await,
        Command::Token(c) => c.run(session).await,
        Command::Artifact(c) => c.run(session).await,
        Command::Offering(c) => c.run(session).await,
        Command::Bill(c) => c.run(session).await,
        Command::Ledger(c) => c.run(session).await,
        Command::Statement(c) => c.run(session).await,
        Command::Receipt(c) => c.run(session).await,
        Command::Dispute(c) => c.run(session).await,
        Command::Event(c) => c.run(session).await,
        Command::Login(c) => c.run(session).await,
        Command::Config(c) => c.run(session),
        Command::Help(c) => c.run(session),
        Command::Completions(c) => c.run(),
        Command::Man(c) => c.run(session),
    }
}

/// An amount of money as an argument: `"0.012 EUR"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Amount(pub(crate) Money);

impl FromStr for Amount {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, currency) = text.trim().rsplit_once(' ').ok_or("write it as \"0.012 EUR\"")?;
        if currency.len() != 3 || !currency.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(format!("{currency:?} is not a currency such as EUR"));
        }
        let amount = decimal(number.trim(), 6).map_err(|e| e.to_string())?;
        Ok(Self(Money::new(MicroMoney(amount), currency)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_have_a_currency() {
        assert_eq!("0.012 EUR".parse::<Amount>().unwrap().0.micros, 12_000);
        for bad in ["1", "EUR", "1 euro", "-1 EUR", "0.0000001 EUR", "1EUR"] {
            assert!(bad.parse::<Amount>().is_err(), "{bad} was taken for money");
        }
    }
}
