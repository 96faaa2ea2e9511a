//! An order as written, checked: every wrong field is told at once, with what to write.

use std::collections::{BTreeMap, BTreeSet};

use chandler_api::order::{ITEMS_MAX, Input, OrderRequest, OwnerKind as ShownOwner, SoftwareKind, TaskItem};
use chandler_api::sla::SlaTerms;
use chandler_engine::catalogue::Offering;
use chandler_engine::model::Model;
use chandler_engine::order::{Front, ItemSpec, OrderSpec, OwnerKind, Policy, REPLICAS_MAX};
use chandler_engine::sla::Terms;
use chandler_protocol::text::{is_inner_path, is_name};
use chandler_protocol::workload::InputFile;
use chandler_protocol::{Bytes, Digest, Micros, PartyId, Ppm};

use super::mobility;
use super::software::{self, Checked};
use crate::api::error::{Failure, Fields};
use crate::api::party::NAME_FORM;
use crate::api::site::is_country;

/// Lengths of uploaded content that an order names, as far as it is here.
pub(in crate::api) type Lengths = BTreeMap<Digest, u64>;

/// Most input files of one item.
const ITEM_INPUTS_MAX: usize = 256;
/// Most input files of one order.
const INPUTS_MAX: usize = 20_000;
/// Most countries of one order: more than there are.
const RESIDENCY_MAX: usize = 300;
/// Highest availability that may be asked for.
const AVAILABILITY_MAX: Ppm = Ppm(999_999);
/// Most tries of one item after the first.
const RETRIES_MAX: u32 = 100;
/// Most cores and GPUs of one machine.
const CORES_MAX: u32 = 4_096;
const HOUR: i64 = 3_600_000_000;
const DEADLINE: std::ops::RangeInclusive<i64> = 1_000_000..=365 * 24 * HOUR;

/// The digests that an order's items name.
pub(in crate::api) fn digests(request: &OrderRequest) -> BTreeSet<Digest> {
    let inputs = request.items.iter().flat_map(|i| i.inputs.iter().take(ITEM_INPUTS_MAX));
    inputs.filter_map(|i| i.digest).take(INPUTS_MAX).collect()
}

/// An order as the engine decides on it.
///
/// # Errors
/// Every field that is wrong; E0401 when that is the artifact alone.
pub(in crate::api) fn spec(
    model: &Model,
    customer: PartyId,
    request: &OrderRequest,
    lengths: &Lengths,
) -> Result<OrderSpec, Failure> {
    let mut fields = Fields::default();
    fields.check(is_name(&request.name), "name", NAME_FORM);
    let offering = model.offerings.get(&request.offering);
    if offering.is_none() {
        let known: Vec<_> = model.offerings.keys().take(10).cloned().collect();
        fields.wrong("offering", format!("there is no such offering: write one of {}", known.join(", ")));
    }
    let terms = terms(&mut fields, request, offering.map(AsRef::as_ref), &model.currency);
    let (uses, addresses) = mobility::uses(&mut fields, model, customer, request);
    let front = mobility::front(&mut fields, model, customer, request);
    let policy = Policy { front, uses, ..policy(&mut fields, request) };
    let items = items(&mut fields, request, lengths);
    let Checked { mut workload, platform, missing_artifact } = software::check(&mut fields, model, request);
    workload.environment.extend(addresses);
    if let Some(problem) = missing_artifact {
        if fields.is_empty() {
            return Err(problem.into());
        }
        fields.wrong("software.artifact", problem.detail);
    }
    fields.finish()?;
    let retries = request.software.retries;
    Ok(OrderSpec { offering: request.offering.clone(), workload, platform, terms, policy, items, retries })
}

fn is_task(request: &OrderRequest) -> bool {
    request.software.kind == SoftwareKind::Task
}

fn terms(fields: &mut Fields, request: &OrderRequest, offering: Option<&Offering>, currency: &str) -> Terms {
    let sla = &request.sla;
    if let Some(offering) = offering {
        offered_only(fields, sla, offering);
    }
    let mut terms = Terms::default();
    if let Some(cost) = &sla.cost {
        let known = cost.max.currency == currency;
        fields.check(
            known,
            "sla.cost.max",
            format!("this controller counts in {currency}: write {:?}", { format!("30 {currency}/month") }),
        );
        terms.cost_max = Some(cost.max.amount);
    }
    if let Some(interactivity) = &sla.interactivity {
        let p95 = interactivity.p95.0;
        fields.check((1..=HOUR).contains(&p95.0), "sla.interactivity.p95", "write a duration from 1 us to 1 h");
        terms.p95_max = Some(p95);
    }
    if let Some(availability) = &sla.availability {
        let min = availability.min.0;
        let detail = format!("nobody can promise more than {AVAILABILITY_MAX}: write a share up to that");
        fields.check(min <= AVAILABILITY_MAX, "sla.availability.min", detail);
        terms.availability_min = Some(min);
    }
    fields.check(sla.residency.len() <= RESIDENCY_MAX, "sla.residency", "these are more countries than there are");
    for (index, country) in sla.residency.iter().take(RESIDENCY_MAX).enumerate() {
        let pointer = format!("sla.residency[{index}]");
        fields.check(is_country(country), pointer, "write an ISO 3166-1 alpha-2 code in capitals such as DE");
        if !terms.residency.contains(country) {
            terms.residency.push(country.clone());
        }
    }
    if let Some(capacity) = &sla.capacity {
        for (pointer, value) in [("sla.capacity.cores", capacity.cores), ("sla.capacity.gpus", capacity.gpus)] {
            fields.check(value <= CORES_MAX, pointer, format!("write a number up to {CORES_MAX}"));
        }
        (terms.cores_min, terms.gpus_min) = (capacity.cores, capacity.gpus);
    }
    if let Some(deadline) = &sla.deadline {
        let within = deadline.within.0;
        fields.check(is_task(request), "sla.deadline", "only a task has a deadline: leave it out");
        fields.check(DEADLINE.contains(&within.0), "sla.deadline.within", "write a duration from 1 s to 365 d");
        terms.deadline = Some(within);
    }
    terms
}

/// Attributes that the offering does not have cannot be chosen.
fn offered_only(fields: &mut Fields, sla: &SlaTerms, offering: &Offering) {
    let chosen = [
        ("cost", sla.cost.is_some()),
        ("interactivity", sla.interactivity.is_some()),
        ("availability", sla.availability.is_some()),
        ("residency", !sla.residency.is_empty()),
        ("capacity", sla.capacity.is_some()),
        ("deadline", sla.deadline.is_some()),
    ];
    for (name, _) in chosen.into_iter().filter(|(_, is_chosen)| *is_chosen) {
        let has = offering.characteristics.iter().any(|c| c == name);
        let detail = format!("offering {} has {} only", offering.name, offering.characteristics.join(", "));
        fields.check(has, format!("sla.{name}"), detail);
    }
}

fn policy(fields: &mut Fields, request: &OrderRequest) -> Policy {
    let (policy, replicas) = (&request.policy, request.policy.replicas);
    let kinds = "write at least one of customer, provider, partner, remote";
    fields.check(!policy.owners.is_empty(), "policy.owners", kinds);
    let in_range = 1 <= replicas.min && replicas.min <= replicas.max && replicas.max <= REPLICAS_MAX;
    fields.check(in_range, "policy.replicas", format!("write a number, or min and max, from 1 to {REPLICAS_MAX}"));
    let is_exclusive = request.software.state.as_ref().is_some_and(|s| s.exclusive);
    if is_exclusive && replicas.max > 1 {
        fields.wrong(
            "policy.replicas",
            "software.state.exclusive allows one copy only: write 1, or exclusive = false when copies may share",
        );
    }
    if is_task(request) && replicas.max > 1 {
        fields.wrong("policy.replicas", "each item of a task runs once: leave it out");
    }
    let mut owners: Vec<_> = policy.owners.iter().map(|o| owner(*o)).collect();
    owners.sort_unstable();
    owners.dedup();
    Policy {
        owners,
        replicas_min: replicas.min,
        replicas_max: replicas.max,
        enforce_limits: request.software.limits.enforce,
        mobility: mobility::mobility(fields, request),
        front: Front::default(),
        uses: Vec::new(),
        criteria: mobility::criteria(fields, request),
    }
}

/// Whose resources, in the words of the engine.
pub(in crate::api) const fn owner(kind: ShownOwner) -> OwnerKind {
    match kind {
        ShownOwner::Customer => OwnerKind::Customer,
        ShownOwner::Provider => OwnerKind::Provider,
        ShownOwner::Partner => OwnerKind::Partner,
        ShownOwner::Remote => OwnerKind::Remote,
    }
}

/// The items of a task; one that names none has one.
fn items(fields: &mut Fields, request: &OrderRequest, lengths: &Lengths) -> Vec<ItemSpec> {
    fields.check(request.software.retries <= RETRIES_MAX, "software.retries", format!("write 0 to {RETRIES_MAX}"));
    if !is_task(request) {
        fields.check(
            request.items.is_empty(),
            "item",
            "only a task has items: leave them out, or write kind = \"task\"",
        );
        fields.check(request.software.retries == 0, "software.retries", "only a task has retries: leave it out");
        return Vec::new();
    }
    if request.items.is_empty() {
        return vec![ItemSpec { name: "1".to_owned(), inputs: Vec::new() }];
    }
    fields.check(request.items.len() <= ITEMS_MAX, "item", format!("a task has at most {ITEMS_MAX} items"));
    let inputs: usize = request.items.iter().map(|i| i.inputs.len()).sum();
    fields.check(inputs <= INPUTS_MAX, "item", format!("an order has at most {INPUTS_MAX} inputs"));
    let mut names = BTreeSet::new();
    let mut specs = Vec::new();
    for (index, item) in request.items.iter().take(ITEMS_MAX).enumerate() {
        let pointer = format!("item[{index}]");
        fields.check(is_name(&item.name), format!("{pointer}.name"), NAME_FORM);
        let is_new = names.insert(item.name.as_str());
        fields.check(is_new, format!("{pointer}.name"), format!("another item is called {:?} already", item.name));
        specs.push(ItemSpec { name: item.name.clone(), inputs: inputs_of(fields, &pointer, item, lengths) });
    }
    specs
}

fn inputs_of(fields: &mut Fields, pointer: &str, item: &TaskItem, lengths: &Lengths) -> Vec<InputFile> {
    let few = item.inputs.len() <= ITEM_INPUTS_MAX;
    fields.check(few, format!("{pointer}.inputs"), format!("an item has at most {ITEM_INPUTS_MAX} inputs"));
    let mut paths = BTreeSet::new();
    let mut files = Vec::new();
    for (index, input) in item.inputs.iter().take(ITEM_INPUTS_MAX).enumerate() {
        let pointer = format!("{pointer}.inputs[{index}]");
        let inside = is_inner_path(&input.path);
        fields.check(inside, format!("{pointer}.path"), "write a path inside the working directory, without ..");
        let is_new = paths.insert(input.path.as_str());
        fields.check(is_new, format!("{pointer}.path"), "another input has this path already");
        if let Some(digest) = digest_of(fields, &pointer, input)
            && let Some(length) = length_of(fields, &pointer, digest, lengths)
        {
            files.push(InputFile { path: input.path.clone(), digest, length });
        }
    }
    files
}

fn digest_of(fields: &mut Fields, pointer: &str, input: &Input) -> Option<Digest> {
    if input.file.is_some() {
        fields.wrong(
            format!("{pointer}.file"),
            "a local file is uploaded by the command line only: PUT it to /api/v1/blobs and write its digest",
        );
    } else if input.digest.is_none() {
        fields.wrong(format!("{pointer}.digest"), "write the digest of content that was uploaded before");
    }
    input.digest.filter(|_| input.file.is_none())
}

fn length_of(fields: &mut Fields, pointer: &str, digest: Digest, lengths: &Lengths) -> Option<Bytes> {
    let length = lengths.get(&digest);
    let detail = "this content was not uploaded: PUT it to /api/v1/blobs first";
    fields.check(length.is_some(), format!("{pointer}.digest"), detail);
    length.map(|l| Bytes(*l))
}

/// Checks a duration against its range.
pub(super) fn check_span(fields: &mut Fields, pointer: &str, span: Micros, least: Micros, most: Micros) {
    let in_range = (least..=most).contains(&span);
    fields.check(in_range, pointer, format!("write a duration from {least} to {most}"));
}
