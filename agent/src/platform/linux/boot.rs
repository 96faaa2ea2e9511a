//! Which boot this is, and the clock that counts from it.

use std::fs;
use std::time::Duration;

use chandler_protocol::Micros;
use rustix::time::{ClockId, clock_gettime};

/// Time since boot, counting sleep.
pub fn boot_clock() -> Micros {
    let t = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    Micros::from_std(Duration::new(seconds, u32::try_from(t.tv_nsec).unwrap_or(0)))
}

/// Identifies this boot. Where the kernel gives no id, the moment of boot stands for it.
pub fn boot_id() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).filter_map(|d| u8::try_from(d).ok()).collect();
    let mut id = [0; 16];
    if digits.len() == 32 {
        for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        return id;
    }
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let moment = stat.lines().find_map(|l| l.strip_prefix("btime ")).unwrap_or("0");
    for (byte, digit) in id.iter_mut().zip(moment.bytes()) {
        *byte = digit;
    }
    id
}
