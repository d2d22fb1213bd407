//! Network devices: traffic, settings, neighbours.

use std::collections::BTreeMap;
use std::path::Path;

use super::read;
use crate::metric::Page;

const RECEIVE: [&str; 8] = ["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"];
const TRANSMIT: [&str; 8] = ["bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed"];

/// Reads `/proc/net/dev`: each device with its eight received and eight transmitted numbers.
pub(in crate::collect) fn parse_dev(text: &str) -> impl Iterator<Item = (&str, [f64; 16])> {
    text.lines().filter_map(|line| {
        // A name may hold a colon; numbers do not.
        let (device, rest) = line.rsplit_once(':')?;
        let mut numbers = [0.0; 16];
        let mut words = rest.split_ascii_whitespace();
        for number in &mut numbers {
            *number = words.next()?.parse::<u64>().ok()? as f64;
        }
        Some((device.trim(), numbers))
    })
}

/// Shows `/proc/net/dev`.
pub(super) fn netdev(text: &str, excluded: impl Fn(&str) -> bool, page: &mut Page) {
    for (device, numbers) in parse_dev(text).filter(|(device, _)| !excluded(device)) {
        let names =
            RECEIVE.map(|name| ("receive", name)).into_iter().chain(TRANSMIT.map(|name| ("transmit", name)));
        for ((direction, name), value) in names.zip(numbers) {
            let help = format!("Network device statistic {direction}_{name}.");
            page.counter(
                format!("node_network_{direction}_{name}_total"),
                help,
                &[("device", device)],
                value,
            );
        }
    }
}

/// Shows `/sys/class/net`.
pub(super) fn netclass(dir: &Path, excluded: impl Fn(&str) -> bool, page: &mut Page) {
    for device in read::names(dir).iter().filter(|device| !excluded(device)) {
        let dir = dir.join(device);
        let word = |file: &str| {
            read::optional(&dir.join(file)).map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let operstate = word("operstate");
        // Files such as `bonding_masters` are no devices.
        if operstate.is_empty() {
            continue;
        }
        let labels = [("device", device.as_str())];
        let up = f64::from(u8::from(operstate == "up"));
        page.gauge("node_network_up", "Value is 1 if operstate is 'up', 0 otherwise.", &labels, up);
        let flags = hex(&word("flags"));
        let adminstate = match flags {
            Some(flags) if flags & 1 == 1 => "up",
            Some(_) => "down",
            None => "",
        };
        let info = [
            ("device", device.as_str()),
            ("address", &word("address")),
            ("adminstate", adminstate),
            ("broadcast", &word("broadcast")),
            ("duplex", &word("duplex")),
            ("ifalias", &word("ifalias")),
            ("operstate", &operstate),
        ];
        let help = "Non-numeric data from /sys/class/net/<iface>, value is always 1.";
        page.gauge("node_network_info", help, &info, 1.0);
        let flags = flags.map(|flags| flags as f64);
        let speed =
            read::number(&dir.join("speed")).filter(|mbits| *mbits >= 0.0).map(|mbits| mbits * 125_000.0);
        show(page, "node_network_flags", "Network device property: flags", &labels, flags);
        show(page, "node_network_speed_bytes", "Network device property: speed_bytes", &labels, speed);
        show_numbers(page, &dir, &labels);
    }
}

fn show_numbers(page: &mut Page, dir: &Path, labels: &[(&'static str, &str)]) {
    const GAUGES: [(&str, &str, &str); 11] = [
        (
            "addr_assign_type",
            "node_network_address_assign_type",
            "Network device property: address_assign_type",
        ),
        ("carrier", "node_network_carrier", "Network device property: carrier"),
        ("dev_id", "node_network_device_id", "Network device property: device_id"),
        ("dormant", "node_network_dormant", "Network device property: dormant"),
        ("ifindex", "node_network_iface_id", "Network device property: iface_id"),
        ("iflink", "node_network_iface_link", "Network device property: iface_link"),
        ("link_mode", "node_network_iface_link_mode", "Network device property: iface_link_mode"),
        ("mtu", "node_network_mtu_bytes", "Network device property: mtu_bytes"),
        ("name_assign_type", "node_network_name_assign_type", "Network device property: name_assign_type"),
        ("netdev_group", "node_network_net_dev_group", "Network device property: net_dev_group"),
        (
            "tx_queue_len",
            "node_network_transmit_queue_length",
            "Network device property: transmit_queue_length",
        ),
    ];
    const COUNTERS: [(&str, &str); 3] = [
        ("carrier_changes", "node_network_carrier_changes_total"),
        ("carrier_down_count", "node_network_carrier_down_changes_total"),
        ("carrier_up_count", "node_network_carrier_up_changes_total"),
    ];
    for (file, name, help) in GAUGES {
        let text = read::optional(&dir.join(file)).unwrap_or_default();
        let value = text.trim().parse().ok().or_else(|| hex(text.trim()).map(|value| value as f64));
        show(page, name, help, labels, value);
    }
    let protocol = read::number(&dir.join("type"));
    show(page, "node_network_protocol_type", "Network device property: protocol_type", labels, protocol);
    for (file, name) in COUNTERS {
        if let Some(value) = read::number(&dir.join(file)) {
            let property = name.trim_start_matches("node_network_");
            page.counter(name, format!("Network device property: {property}"), labels, value);
        }
    }
}

fn show(
    page: &mut Page,
    name: &'static str,
    help: &'static str,
    labels: &[(&'static str, &str)],
    value: Option<f64>,
) {
    if let Some(value) = value {
        page.gauge(name, help, labels, value);
    }
}

fn hex(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

/// Shows how many neighbours `/proc/net/arp` has by device.
pub(super) fn arp(text: &str, page: &mut Page) {
    let mut entries: BTreeMap<&str, u32> = BTreeMap::new();
    for line in text.lines().skip(1) {
        if let Some(device) = line.split_ascii_whitespace().nth(5) {
            *entries.entry(device).or_default() += 1;
        }
    }
    for (device, n) in entries {
        page.gauge("node_arp_entries", "ARP entries by device", &[("device", device)], f64::from(n));
    }
}
