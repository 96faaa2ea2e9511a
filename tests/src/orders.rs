//! Orders that tests place, written as a customer writes them.

use std::fmt::Write as _;

use chandler_api::client::{Client, Content};
use chandler_api::order::OrderRequest;
use chandler_protocol::Digest;

/// An order from the TOML of an order file.
///
/// # Errors
/// It is not an order.
pub fn order(text: &str) -> anyhow::Result<OrderRequest> {
    Ok(toml::from_str(text)?)
}

/// The notes application for a customer, with these further lines: tables such as `[sla]` and `[policy]`.
///
/// # Errors
/// The lines are not part of an order.
pub fn notes(customer: &str, name: &str, further: &str) -> anyhow::Result<OrderRequest> {
    order(&format!("customer = \"{customer}\"\n{}", notes_file(name, further)))
}

/// The order file of [`notes`] as the customer itself writes it, who need not say who it is.
pub fn notes_file(name: &str, further: &str) -> String {
    format!(
        r#"
name = "{name}"

[software]
artifact = "notes@1.0.0"
command = ["./notes", "--listen", "127.0.0.1:{{port.http}}", "--data", "{{state}}"]
limits = {{ cpu = 0.5, memory = "128 MiB" }}
port = [{{ name = "http", mode = "http" }}]
state = {{ path = "data", exclusive = false }}
health = {{ http = "/healthz", port = "http", interval = "200 ms" }}
stop = {{ grace = "2 s" }}

{further}
"#
    )
}

/// A task that counts the words of these texts, each an item with its name, and the lines as in [`notes`]. The texts
/// are uploaded here.
///
/// # Errors
/// The controller refuses a text, or the lines are not part of an order.
pub async fn word_count(
    client: &Client,
    name: &str,
    texts: &[(&str, &str)],
    further: &str,
) -> anyhow::Result<OrderRequest> {
    let mut items = String::new();
    for (item, text) in texts {
        let digest = Digest(*blake3::hash(text.as_bytes()).as_bytes());
        client.blob_put(&digest, Content::from(text.as_bytes().to_vec())).await?;
        // Writing to a string cannot fail.
        let _ =
            writeln!(items, "[[item]]\nname = \"{item}\"\ninputs = [{{ path = \"in.txt\", digest = \"{digest}\" }}]");
    }
    order(&format!(
        r#"
name = "{name}"

[software]
kind = "task"
artifact = "notes@1.0.0"
command = ["./notes", "wordcount", "in.txt", "{{item}}.json"]
limits = {{ cpu = 0.5, memory = "128 MiB" }}
outputs = ["{{item}}.json"]

{further}

{items}
"#
    ))
}
