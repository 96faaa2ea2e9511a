//! Linux.

pub(super) mod activity;
pub(super) mod addresses;
pub(super) mod boot;
pub(super) mod cgroup;
mod hardware;
mod packages;
pub(super) mod probe;
pub(super) mod process;
mod readings;
pub(super) mod storage;
