//! Handing the results of a task to the controller.

use chandler_protocol::AssignmentId;
use chandler_protocol::artifact::{BulkRequest, BulkResponse};
use chandler_protocol::state::OutputFile;

use crate::agent::Shared;
use crate::link::bulk::BulkError;

/// Bytes read and sent at once.
const BLOCK: usize = 64 << 10;

/// What the controller has, and what it has not.
#[derive(Debug, Default)]
pub(crate) struct Handed {
    /// Stored by the controller.
    pub(crate) stored: Vec<OutputFile>,
    /// What is missing, for people.
    pub(crate) notes: Vec<String>,
}

/// Hands over everything. With `is_last_try` what the controller refuses is left out and said; else it is an error.
pub(crate) async fn hand_over(
    shared: &Shared,
    id: AssignmentId,
    epoch: u64,
    outputs: &[String],
    is_last_try: bool,
) -> Result<Handed, BulkError> {
    let collected = shared.world.workspace.collect(id, outputs).await;
    let mut handed = Handed { notes: collected.notes, ..Handed::default() };
    for file in collected.files {
        match put(shared, id, epoch, &file).await {
            Ok(()) => handed.stored.push(file),
            Err(error @ (BulkError::Refused { .. } | BulkError::Wrong { .. })) if is_last_try => {
                handed.notes.push(format!("{} is not stored: {error}", file.path));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(handed)
}

async fn put(shared: &Shared, id: AssignmentId, epoch: u64, file: &OutputFile) -> Result<(), BulkError> {
    let head = BulkRequest::PutOutput {
        assignment: id,
        epoch,
        path: file.path.clone(),
        digest: file.digest,
        length: file.length,
    };
    let mut exchange = shared.bulk.request(&head).await?;
    let mut sent = 0;
    while sent < file.length {
        let limit = usize::try_from(file.length - sent).unwrap_or(BLOCK).min(BLOCK);
        let read = shared.world.workspace.read_output(id, &file.path, sent, limit).await;
        match read {
            Ok(bytes) if !bytes.is_empty() => {
                if let Err(error) = exchange.write(&bytes).await {
                    // A controller that has enough says so and stops reading; what it says matters more.
                    return match exchange.next().await {
                        Err(refusal @ BulkError::Refused { .. }) => Err(refusal),
                        _ => Err(error),
                    };
                }
                sent += bytes.len() as u64;
            }
            Ok(_) => return Err(exchange.wrong("no room for it to change while it is sent")),
            Err(error) => return Err(exchange.wrong(&format!("nothing, as it cannot be read: {error}"))),
        }
    }
    exchange.finish();
    match exchange.next().await? {
        BulkResponse::Stored => Ok(()),
        _ => Err(exchange.wrong("something else than that it is stored")),
    }
}
