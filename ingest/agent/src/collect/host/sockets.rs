//! What the network stack counts, protocol by protocol.

use greylight_wire::exposition::MetricType;

use super::read;
use crate::metric::Page;

/// Tells whether node_exporter keeps a field by default.
fn is_kept(protocol: &str, field: &str) -> bool {
    let octets = matches!(field, "InOctets" | "OutOctets");
    let datagrams =
        matches!(field, "InDatagrams" | "OutDatagrams" | "NoPorts" | "RcvbufErrors" | "SndbufErrors");
    let tcp = ["ActiveOpens", "InSegs", "OutSegs", "OutRsts", "PassiveOpens", "RetransSegs", "CurrEstab"];
    let tcp_ext = ["TCPSynRetrans", "TCPTimeouts", "TCPOFOQueue", "TCPRcvQDrop"];
    matches!(field, "InErrors" | "InErrs")
        || match protocol {
            "Ip" => field == "Forwarding",
            "IpExt" | "Ip6" => octets,
            "Icmp" | "Icmp6" => matches!(field, "InMsgs" | "OutMsgs"),
            "TcpExt" => {
                field.starts_with("Listen") || field.starts_with("Syncookies") || tcp_ext.contains(&field)
            }
            "Tcp" => tcp.contains(&field),
            "Udp" | "Udp6" => datagrams,
            _ => false,
        }
}

fn show(page: &mut Page, protocol: &str, field: &str, value: f64) {
    if is_kept(protocol, field) {
        let name = format!("node_netstat_{protocol}_{field}");
        page.put(name, MetricType::Unknown, format!("Statistic {protocol}{field}."), &[], value);
    }
}

/// Shows `/proc/net/snmp` or `/proc/net/netstat`: a line of names and a line of values for each protocol.
pub(super) fn netstat(text: &str, page: &mut Page) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((protocol, names)), Some((same, values))) = (names.split_once(':'), values.split_once(':'))
        else {
            return;
        };
        if protocol != same {
            return;
        }
        for (field, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            if let Ok(value) = value.parse() {
                show(page, protocol, field, value);
            }
        }
    }
}

/// Shows `/proc/net/snmp6`: `Ip6InOctets 5` lines.
pub(super) fn netstat6(text: &str, page: &mut Page) {
    for (name, value) in read::pairs(text) {
        if let Some(six) = name.find('6') {
            let (protocol, field) = name.split_at(six + 1);
            show(page, protocol, field, value);
        }
    }
}

/// Shows `/proc/net/sockstat`: `TCP: inuse 5 orphan 0 ...` lines.
pub(super) fn sockstat(text: &str, page_bytes: f64, page: &mut Page) {
    for line in text.lines() {
        let Some((protocol, rest)) = line.split_once(':') else { continue };
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        for pair in words.chunks_exact(2) {
            let (field, Ok(value)) = (pair[0], pair[1].parse::<f64>()) else { continue };
            if protocol == "sockets" && field == "used" {
                let help = "Number of IPv4 sockets in use.";
                page.gauge("node_sockstat_sockets_used", help, &[], value);
                continue;
            }
            let help = format!("Number of {protocol} sockets in state {field}.");
            page.gauge(format!("node_sockstat_{protocol}_{field}"), help, &[], value);
            if field == "mem" {
                let help = format!("Number of {protocol} sockets in state mem_bytes.");
                page.gauge(format!("node_sockstat_{protocol}_mem_bytes"), help, &[], value * page_bytes);
            }
        }
    }
}

/// Shows `/proc/net/softnet_stat`: a line of hexadecimal columns for each CPU.
pub(super) fn softnet(text: &str, page: &mut Page) {
    const COLUMNS: [(usize, &str, &str); 5] = [
        (0, "node_softnet_processed_total", "Number of processed packets"),
        (1, "node_softnet_dropped_total", "Number of dropped packets"),
        (2, "node_softnet_times_squeezed_total", "Number of times processing packets ran out of quota"),
        (9, "node_softnet_received_rps_total", "Number of times cpu woken up received_rps"),
        (10, "node_softnet_flow_limit_count_total", "Number of times flow limit has been reached"),
    ];
    for (line, i) in text.lines().zip(0_usize..) {
        let numbers: Vec<u64> =
            line.split_ascii_whitespace().map_while(|word| u64::from_str_radix(word, 16).ok()).collect();
        // Column 12 is the CPU's own number where the kernel tells it; those that are off have no line.
        let cpu = numbers.get(12).copied().unwrap_or(i as u64).to_string();
        for (column, name, help) in COLUMNS {
            if let Some(value) = numbers.get(column) {
                page.counter(name, help, &[("cpu", &cpu)], *value as f64);
            }
        }
    }
}

/// Reads the size of a memory page out of `/proc/self/auxv`: pairs of machine words, of which 6 names it.
pub(super) fn page_bytes(auxv: &[u8]) -> Option<f64> {
    const AT_PAGESZ: usize = 6;
    let words: Vec<usize> = auxv.chunks_exact(size_of::<usize>()).map(word).collect();
    words.chunks_exact(2).find(|pair| pair[0] == AT_PAGESZ).map(|pair| pair[1] as f64)
}

fn word(bytes: &[u8]) -> usize {
    let mut word = [0; size_of::<usize>()];
    word.copy_from_slice(bytes);
    usize::from_ne_bytes(word)
}
