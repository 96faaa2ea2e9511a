//! Flows of real daemons through what goes wrong: killed processes, machines and controllers, work in bulk, wrong input,
//! and time without a controller. Each test has a fleet of its own and waits for what it expects instead of sleeping.
#![expect(clippy::print_stderr, reason = "a long test says what it measured and how far it is")]

mod bad_artifact;
mod bad_host;
mod bad_identity;
mod bad_join;
mod bad_move;
mod bad_order;
mod chaos;
mod crash;
mod cut_way;
mod demo;
mod ground;
mod identity;
mod keeps_running;
mod liar;
mod offline;
mod outsider;
mod partner_faults;
mod partner_ground;
mod partner_lies;
mod partner_order;
mod partner_prices;
mod partner_restored;
mod partner_size;
mod partner_strangers;
mod partner_terms;
mod partner_wire;
mod partners;
mod real_software;
mod silent_majority;
mod small_disk;
mod task_ends;
mod tasks;
mod time_to_recover;
mod trunk;
mod writer;
