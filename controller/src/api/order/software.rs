//! What an order runs, checked: the artifact or program, its command, and what it needs from the machine.

use std::collections::BTreeSet;

use chandler_api::order::{self as shown, OrderRequest, SoftwareKind};
use chandler_api::problem::{NOT_AN_ARTIFACT, Problem};
use chandler_engine::model::Model;
use chandler_protocol::text::{TEXT_MAX, is_inner_path, is_name};
use chandler_protocol::workload::{
    DriverKind, HealthCheck, Limits, Port, PortMode, Probe, RestartPolicy, Software, State, StopPolicy, StopSignal,
    WorkloadKind, WorkloadSpec,
};
use chandler_protocol::{Bytes, Micros};

use super::validate::check_span;
use crate::api::artifact;
use crate::api::error::Fields;
use crate::api::party::NAME_FORM;

/// Most arguments, and most environment variables.
const WORDS_MAX: usize = 256;
/// Longest command, and longest environment, in bytes.
const WORDS_BYTES_MAX: usize = 32 << 10;
/// Most ports.
const PORTS_MAX: usize = 32;
/// Most files to collect.
const OUTPUTS_MAX: usize = 256;
/// Restarts in a row before it is tried on another host, when none are given.
const ATTEMPTS: u32 = 5;
const ATTEMPTS_MAX: u32 = 1_000;
const FAILURES_MAX: u32 = 100;
const MEMORY_MIN: Bytes = Bytes(1 << 20);
const MEMORY_MAX: Bytes = Bytes(64 << 40);
const TENTH: Micros = Micros::from_millis(100);
const MINUTE: Micros = Micros::from_secs(60);
const HOUR: Micros = Micros::from_secs(3_600);
const YEAR: Micros = Micros::from_secs(365 * 86_400);

/// What an order runs.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) workload: WorkloadSpec,
    pub(super) platform: String,
    /// It names an artifact that nobody published.
    pub(super) missing_artifact: Option<Problem>,
}

/// Checks what an order runs.
pub(super) fn check(fields: &mut Fields, model: &Model, request: &OrderRequest) -> Checked {
    let wanted = &request.software;
    let is_task = wanted.kind == SoftwareKind::Task;
    let (software, platform, missing_artifact) = source(fields, model, wanted);
    let ports = ports(fields, &wanted.port);
    words(fields, wanted);
    if !is_task {
        fields.check(wanted.outputs.is_empty(), "software.outputs", "only a task has outputs: leave them out");
        fields.check(wanted.time_limit.is_none(), "software.timeLimit", "only a task has a time limit: leave it out");
    }
    outputs(fields, &wanted.outputs);
    let time_limit = wanted.time_limit.map(|s| s.0);
    if let Some(limit) = time_limit {
        check_span(fields, "software.timeLimit", limit, TENTH, YEAR);
    }
    let workload = WorkloadSpec {
        name: request.name.clone(),
        kind: if is_task { WorkloadKind::Task } else { WorkloadKind::Service },
        driver: match wanted.driver {
            shown::Driver::Process => DriverKind::Process,
        },
        software,
        command: wanted.command.clone(),
        environment: wanted.environment.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        limits: limits(fields, &wanted.limits),
        health: wanted.health.as_ref().and_then(|h| health(fields, h, &ports)),
        ports,
        state: wanted.state.as_ref().map(|s| state(fields, s)),
        restart: restart(fields, wanted.restart.as_ref()),
        stop: stop(fields, wanted.stop.as_ref()),
        inputs: Vec::new(),
        outputs: wanted.outputs.clone(),
        time_limit,
    };
    Checked { workload, platform, missing_artifact }
}

/// Exactly one of artifact and installed. The third is the problem of an artifact that is not there.
fn source(fields: &mut Fields, model: &Model, wanted: &shown::Software) -> (Software, String, Option<Problem>) {
    let nothing = Software::Installed { name: String::new(), path: String::new() };
    match (&wanted.artifact, &wanted.installed) {
        (Some(reference), None) => {
            let Some((name, version)) = reference.split_once('@') else {
                fields.wrong("software.artifact", "write name@version, such as notes@1.0.0");
                return (nothing, String::new(), None);
            };
            match model.artifacts.get(&(name.to_owned(), version.to_owned())) {
                None => {
                    let problem = Problem::new(NOT_AN_ARTIFACT, artifact::missing(model, name, version));
                    (nothing, String::new(), Some(problem))
                }
                Some(a) => {
                    let software = Software::Artifact {
                        name: a.name.clone(),
                        version: a.version.clone(),
                        digest: a.digest,
                        length: Bytes(a.length),
                    };
                    (software, a.platform.clone(), None)
                }
            }
        }
        (None, Some(installed)) => {
            let path = &installed.path;
            let is_clean = path.strip_prefix('/').is_some_and(is_inner_path) && !path.split('/').any(|p| p == ".");
            let detail = "write the program's absolute path, such as /usr/bin/redis-server, without . and ..";
            fields.check(is_clean, "software.installed.path", detail);
            let is_short = (1..=TEXT_MAX).contains(&installed.name.len()) && !installed.name.contains('\0');
            fields.check(is_short, "software.installed.name", "write the name the host's inventory has");
            (Software::Installed { name: installed.name.clone(), path: path.clone() }, String::new(), None)
        }
        (Some(_), Some(_)) => {
            fields.wrong("software", "write artifact or installed, not both");
            (nothing, String::new(), None)
        }
        (None, None) => {
            fields.wrong("software", "write what is run: artifact = \"name@version\", or installed");
            (nothing, String::new(), None)
        }
    }
}

/// Command, environment, health program: their size, and the words in braces.
fn words(fields: &mut Fields, wanted: &shown::Software) {
    match wanted.command.first() {
        None => fields.wrong("software.command", "write the program and its arguments"),
        Some(program) => {
            fields.check(!program.is_empty(), "software.command[0]", "write the program's name");
            if let Some(inner) = program.strip_prefix("./") {
                let inside = is_inner_path(inner);
                fields.check(inside, "software.command[0]", "write a path inside the artifact, without ..");
                let detail = "./ is inside an artifact, and there is none: write the program's absolute path";
                fields.check(wanted.artifact.is_some(), "software.command[0]", detail);
            }
        }
    }
    check_command(fields, "software.command", &wanted.command, wanted);
    if let Some(health) = &wanted.health {
        check_command(fields, "software.health.exec", &health.exec, wanted);
        if let Some(path) = &health.http {
            check_braces(fields, "software.health.http", path, wanted);
        }
    }
    if let Some(prepare) = &wanted.prepare {
        check_command(fields, "software.prepare.exec", &prepare.exec, wanted);
        if let Some(path) = &prepare.http {
            check_braces(fields, "software.prepare.http", path, wanted);
        }
    }
    let environment = &wanted.environment;
    let bytes: usize = environment.iter().map(|(k, v)| k.len() + v.len() + 2).sum();
    let is_small = environment.len() <= WORDS_MAX && bytes <= WORDS_BYTES_MAX;
    let detail = format!("write at most {WORDS_MAX} variables of {WORDS_BYTES_MAX} bytes in all");
    fields.check(is_small, "software.environment", detail);
    for (name, value) in environment.iter().take(WORDS_MAX) {
        let pointer = format!("software.environment.{}", chandler_protocol::text::clean(name, 64));
        let is_sound = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
        fields.check(is_sound, pointer.as_str(), "a variable has a name without = and holds no NUL");
        check_braces(fields, &pointer, value, wanted);
    }
}

fn check_command(fields: &mut Fields, pointer: &str, command: &[String], wanted: &shown::Software) {
    let bytes: usize = command.iter().map(|a| a.len() + 1).sum();
    let is_small = command.len() <= WORDS_MAX && bytes <= WORDS_BYTES_MAX;
    let detail = format!("write at most {WORDS_MAX} arguments of {WORDS_BYTES_MAX} bytes in all");
    fields.check(is_small, pointer, detail);
    for (index, argument) in command.iter().take(WORDS_MAX).enumerate() {
        let pointer = format!("{pointer}[{index}]");
        fields.check(!argument.contains('\0'), pointer.as_str(), "an argument holds no NUL");
        check_braces(fields, &pointer, argument, wanted);
    }
}

/// `{port.NAME}` and `{state}` must stand for something, and front doors are given by `uses` alone. Other braces may be
/// the program's own.
fn check_braces(fields: &mut Fields, pointer: &str, text: &str, wanted: &shown::Software) {
    for piece in text.split('{').skip(1) {
        let Some((word, _)) = piece.split_once('}') else { continue };
        if let Some(name) = word.strip_prefix("port.") {
            let is_known = wanted.port.iter().any(|p| p.name == name);
            let name = chandler_protocol::text::clean(name, 64);
            let known: Vec<_> = wanted.port.iter().map(|p| p.name.as_str()).collect();
            let detail = match known.is_empty() {
                true => format!("{{port.{name}}}: software.port names no port: add one"),
                false => format!("{{port.{name}}}: software.port names {} only", known.join(", ")),
            };
            fields.check(is_known, pointer, detail);
        }
        if word.starts_with("front.") {
            let detail = "{front...}: write uses = [{ service = \"db\", env = { DB = \"tcp\" } }] instead";
            fields.wrong(pointer, detail);
        }
        if word == "state" {
            let detail = "{state}: there is no software.state: add one, such as { path = \"data\" }";
            fields.check(wanted.state.is_some(), pointer, detail);
        }
    }
}

fn ports(fields: &mut Fields, wanted: &[shown::Port]) -> Vec<Port> {
    fields.check(wanted.len() <= PORTS_MAX, "software.port", format!("write at most {PORTS_MAX} ports"));
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    let mut list = Vec::new();
    for (index, port) in wanted.iter().take(PORTS_MAX).enumerate() {
        let pointer = format!("software.port[{index}]");
        fields.check(is_name(&port.name), format!("{pointer}.name"), NAME_FORM);
        let is_new = names.insert(port.name.as_str());
        fields.check(is_new, format!("{pointer}.name"), format!("another port is called {:?} already", port.name));
        if let Some(number) = port.fixed {
            let is_free = number != 0 && numbers.insert(number);
            fields.check(is_free, format!("{pointer}.fixed"), "write a number from 1 to 65535 that no other port has");
        }
        fields.check(port.front != Some(0), format!("{pointer}.front"), "write a number from 1 to 65535");
        let mode = match port.mode {
            shown::PortMode::Tcp => PortMode::Tcp,
            shown::PortMode::Http => PortMode::Http,
        };
        list.push(Port { name: port.name.clone(), mode, fixed: port.fixed });
    }
    list
}

fn limits(fields: &mut Fields, wanted: &shown::Limits) -> Limits {
    let memory = wanted.memory.0;
    let in_range = (MEMORY_MIN..=MEMORY_MAX).contains(&memory);
    fields.check(in_range, "software.limits.memory", format!("write a size from {MEMORY_MIN} to {MEMORY_MAX}"));
    fields.check(wanted.pids != Some(0), "software.limits.pids", "write at least 1, or leave it out");
    Limits { cpu: Some(wanted.cpu), memory: Some(memory), pids: wanted.pids }
}

fn state(fields: &mut Fields, wanted: &shown::State) -> State {
    fields.check(is_inner_path(&wanted.path), "software.state.path", "write a directory name, such as data");
    State { path: wanted.path.clone(), exclusive: wanted.exclusive }
}

fn outputs(fields: &mut Fields, wanted: &[String]) {
    fields.check(wanted.len() <= OUTPUTS_MAX, "software.outputs", format!("write at most {OUTPUTS_MAX} outputs"));
    for (index, output) in wanted.iter().take(OUTPUTS_MAX).enumerate() {
        let pointer = format!("software.outputs[{index}]");
        // Item names are checked to hold no slash, so any name will do.
        let inside = is_inner_path(&output.replace("{item}", "item"));
        fields.check(inside, pointer.as_str(), "write a path inside the working directory, without ..");
        let is_free = !matches!(output.as_str(), "stdout" | "stderr");
        fields.check(is_free, pointer, "standard output and error are always collected: leave it out");
    }
}

fn health(fields: &mut Fields, wanted: &shown::Health, ports: &[Port]) -> Option<HealthCheck> {
    let ways = usize::from(wanted.http.is_some()) + usize::from(wanted.tcp) + usize::from(!wanted.exec.is_empty());
    fields.check(ways == 1, "software.health", "write exactly one of http, tcp and exec");
    let interval = span(fields, "software.health.interval", wanted.interval, Micros::from_secs(1), (TENTH, HOUR));
    let timeout = span(fields, "software.health.timeout", wanted.timeout, Micros::from_secs(1), (TENTH, HOUR));
    let grace = span(fields, "software.health.grace", wanted.grace, Micros::from_secs(30), (Micros::ZERO, HOUR));
    let failures = wanted.failures.unwrap_or(3);
    let in_range = (1..=FAILURES_MAX).contains(&failures);
    fields.check(in_range, "software.health.failures", format!("write a number from 1 to {FAILURES_MAX}"));
    let names: Vec<_> = ports.iter().map(|p| p.name.as_str()).collect();
    let mut port = || probed_port(fields, "software.health.port", wanted.port.as_deref(), &names);
    let probe = if let Some(path) = &wanted.http {
        let port = port()?;
        fields.check(is_url_path(path), "software.health.http", "write the path of a URL, such as /healthz");
        Probe::Http { port, path: path.clone() }
    } else if wanted.tcp {
        Probe::Tcp { port: port()? }
    } else {
        fields.check(wanted.port.is_none(), "software.health.port", "exec asks no port: leave it out");
        Probe::Exec { command: wanted.exec.clone() }
    };
    Some(HealthCheck { probe, interval, timeout, failures, grace })
}

/// Whether this may be asked for with GET.
pub(super) fn is_url_path(path: &str) -> bool {
    path.starts_with('/') && path.len() <= 1_024 && !path.chars().any(|c| c.is_control() || c == ' ')
}

/// The port that is asked: the one that is named, or the only one.
pub(super) fn probed_port(fields: &mut Fields, pointer: &str, wanted: Option<&str>, known: &[&str]) -> Option<String> {
    match (wanted, known) {
        (None, [only]) => Some((*only).to_owned()),
        (Some(name), _) if known.contains(&name) => Some(name.to_owned()),
        (_, []) => {
            fields.wrong(pointer, "software.port names no port: add the one that is asked");
            None
        }
        (_, _) => {
            fields.wrong(pointer, format!("write one of {}", known.join(", ")));
            None
        }
    }
}

fn restart(fields: &mut Fields, wanted: Option<&shown::Restart>) -> RestartPolicy {
    let wanted = wanted.cloned().unwrap_or_default();
    let default = RestartPolicy::default();
    let attempts = wanted.attempts.unwrap_or(ATTEMPTS);
    fields.check(attempts <= ATTEMPTS_MAX, "software.restart.attempts", format!("write 0 to {ATTEMPTS_MAX}"));
    let delay = span(fields, "software.restart.delay", wanted.delay, default.delay, (TENTH, HOUR));
    // A delay that is longer than the default's longest makes itself the longest.
    let longest = default.delay_max.max(delay);
    let delay_max = span(fields, "software.restart.delayMax", wanted.delay_max, longest, (TENTH, HOUR));
    fields.check(delay <= delay_max, "software.restart.delayMax", format!("write at least the delay of {delay}"));
    RestartPolicy { attempts: Some(attempts), delay, delay_max }
}

fn stop(fields: &mut Fields, wanted: Option<&shown::Stop>) -> StopPolicy {
    let wanted = wanted.cloned().unwrap_or_default();
    let signal = match wanted.signal {
        shown::StopSignal::Terminate => StopSignal::Terminate,
        shown::StopSignal::Interrupt => StopSignal::Interrupt,
        shown::StopSignal::Quit => StopSignal::Quit,
    };
    let longest = Micros(10 * MINUTE.0);
    let grace = span(fields, "software.stop.grace", wanted.grace, StopPolicy::default().grace, (Micros::ZERO, longest));
    StopPolicy { signal, grace }
}

/// A duration or its default, checked against its range.
pub(super) fn span(
    fields: &mut Fields,
    pointer: &str,
    wanted: Option<chandler_api::value::Span>,
    default: Micros,
    (least, most): (Micros, Micros),
) -> Micros {
    let span = wanted.map_or(default, |s| s.0);
    check_span(fields, pointer, span, least, most);
    span
}
