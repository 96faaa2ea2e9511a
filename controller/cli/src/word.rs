//! The API's own words (roles, states) as texts, both ways.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::Serialize;
use serde::de::{DeserializeOwned, IntoDeserializer, value};

/// The word for a value of an enum, as the API writes it.
pub(crate) fn of<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// The value of a word.
pub(crate) fn parse<T: DeserializeOwned>(word: &str) -> Result<T, String> {
    T::deserialize(IntoDeserializer::<value::Error>::into_deserializer(word)).map_err(|e| e.to_string())
}

/// A parser of arguments that takes these words; help and completions list them.
pub(crate) fn parser<T>(words: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| parse::<T>(&word))
}

#[cfg(test)]
mod tests {
    use chandler_api::host::HostState;
    use chandler_api::party::PartyRole;

    use super::*;

    #[test]
    fn words_go_both_ways() {
        assert_eq!(of(&HostState::Unknown), "unknown");
        assert_eq!(parse::<PartyRole>("siteOwner"), Ok(PartyRole::SiteOwner));
        assert!(parse::<PartyRole>("king").unwrap_err().contains("customer"));
    }
}
