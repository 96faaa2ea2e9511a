//! Everything that differs between operating systems, behind the same names on each.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub(crate) use linux::activity::Signs;
#[cfg(target_os = "linux")]
pub use linux::addresses::addresses;
#[cfg(target_os = "linux")]
pub use linux::boot::{boot_clock, boot_id};
#[cfg(target_os = "linux")]
pub use linux::cgroup::Limiter;
#[cfg(target_os = "linux")]
pub use linux::probe::{HostProbe, Offer};
#[cfg(target_os = "linux")]
pub(crate) use linux::process::{
    ProcId, ProcessHandle, descendants, kill, kill_group, kill_marked, kill_marked_now, own_children, own_reaped_cpu,
    signal_group, tree_usage,
};
#[cfg(target_os = "linux")]
pub(crate) use linux::storage::{free_space, sync_tree};

#[cfg(not(target_os = "linux"))]
compile_error!("this operating system needs a module in platform/ with the names that platform/linux.rs gives");
