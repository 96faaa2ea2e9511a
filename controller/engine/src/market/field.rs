//! Refusals of what others say to the market: the field, and what to write there instead.

/// Why an offer or a demand is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {what}")]
pub struct FieldError {
    /// The field, as it stands in the API.
    pub field: &'static str,
    /// What is wrong with it and what to write.
    pub what: String,
}

pub(super) fn wrong(field: &'static str, what: impl Into<String>) -> FieldError {
    FieldError { field, what: what.into() }
}

/// Whether a text is written like a country.
///
/// # Errors
/// It is not, named by `field`.
pub(super) fn check_country(field: &'static str, text: &str) -> Result<(), FieldError> {
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(());
    }
    Err(wrong(field, "is no country: write two capital letters, such as CH"))
}
