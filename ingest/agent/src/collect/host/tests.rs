//! Tests of this module.

use proptest::prelude::*;

use super::*;
use crate::clock::{ManualClock, Timestamp};

/// A folder of recorded files.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/host").join(name)
}

fn collect(config: &HostConfig) -> Page {
    let paths = Paths { procfs: fixture("proc"), sysfs: fixture("sys"), ..Paths::default() };
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_795_255_200_500)));
    Host::new(config, &paths, clock).unwrap().collect()
}

fn only(collectors: &[Collector]) -> HostConfig {
    HostConfig { collectors: collectors.to_vec(), ..HostConfig::default() }
}

/// Looks for lines in what one collector shows.
#[track_caller]
fn check(collector: Collector, lines: &[&str]) {
    let page = collect(&only(&[collector])).to_string();
    for line in lines {
        assert!(page.lines().any(|shown| shown == *line), "{line} is not in\n{page}");
    }
}

#[test]
fn every_collector_reads_a_recorded_host() {
    let page = collect(&HostConfig::default());
    for collector in Collector::ALL {
        let success = format!("node_scrape_collector_success{{collector=\"{}\"}} 1", collector.name());
        assert!(page.to_string().contains(&success), "{success}");
    }
    let mut names: Vec<&str> = page.families().iter().map(|family| family.info.name.as_ref()).collect();
    let n = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), n, "a family is shown twice");
    assert!(n > 180, "only {n} families");
}

#[test]
fn cpu() {
    check(
        Collector::Cpu,
        &[
            "node_cpu_seconds_total{cpu=\"0\",mode=\"user\"} 3699.66",
            "node_cpu_seconds_total{cpu=\"1\",mode=\"steal\"} 6.95",
            "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"} 1647.89",
            "node_cpu_guest_seconds_total{cpu=\"0\",mode=\"nice\"} 0",
        ],
    );
    check(Collector::Stat, &["node_intr_total 3553087"]);
    check(
        Collector::Schedstat,
        &[
            "node_schedstat_running_seconds_total{cpu=\"0\"} 3.331233712",
            "node_schedstat_waiting_seconds_total{cpu=\"1\"} 1",
            "node_schedstat_timeslices_total{cpu=\"0\"} 57931",
        ],
    );
}

#[test]
fn memory() {
    check(Collector::Meminfo, &["node_memory_MemTotal_bytes 25276510208", "node_memory_HugePages_Total 0"]);
    let page = collect(&only(&[Collector::Meminfo])).to_string();
    assert!(page.contains("node_memory_Active_anon_bytes "), "{page}");
    check(Collector::Vmstat, &["node_vmstat_pgfault 120729918", "node_vmstat_oom_kill 0"]);
    let page = collect(&only(&[Collector::Vmstat])).to_string();
    assert!(!page.contains("nr_free_pages"), "{page}");
}

#[test]
fn disks() {
    check(
        Collector::Diskstats,
        &[
            "node_disk_reads_completed_total{device=\"vda\"} 476876",
            "node_disk_read_bytes_total{device=\"vda\"} 16280568832",
            "node_disk_read_time_seconds_total{device=\"vda\"} 521.424",
            "node_disk_io_now{device=\"vda\"} 0",
            "node_disk_flush_requests_time_seconds_total{device=\"vda\"} 6.352",
        ],
    );
    let page = collect(&only(&[Collector::Diskstats])).to_string();
    assert!(!page.contains("loop0"), "{page}");
    let page = collect(&only(&[Collector::Filesystem])).to_string();
    assert!(
        page.contains("node_filesystem_size_bytes{device=\"/dev/vda\",mountpoint=\"/\",fstype=\"ext4\"} "),
        "{page}"
    );
    assert!(
        page.contains("node_filesystem_readonly{device=\"my disk\",mountpoint=\"/usr\",fstype=\"tmpfs\"} 1"),
        "{page}"
    );
    assert!(!page.contains("/proc") && !page.contains("/dev/shm"), "{page}");
}

#[test]
fn network() {
    check(
        Collector::Netdev,
        &[
            "node_network_receive_bytes_total{device=\"eth0\"} 646298811",
            "node_network_transmit_packets_total{device=\"eth0\"} 11582",
            "node_network_transmit_carrier_total{device=\"lo\"} 0",
        ],
    );
    check(
        Collector::Netclass,
        &[
            "node_network_up{device=\"eth0\"} 1",
            "node_network_up{device=\"lo\"} 0",
            "node_network_mtu_bytes{device=\"eth0\"} 1400",
            "node_network_carrier_changes_total{device=\"eth0\"} 2",
            "node_network_flags{device=\"eth0\"} 4099",
        ],
    );
    let page = collect(&only(&[Collector::Netclass])).to_string();
    assert!(!page.contains("speed_bytes"), "an unknown speed is -1, and is not shown");
    let without = HostConfig { network_devices_exclude: "^eth".to_owned(), ..only(&[Collector::Netdev]) };
    assert!(!collect(&without).to_string().contains("eth0"));
    check(Collector::Sockstat, &["node_sockstat_sockets_used 38", "node_sockstat_TCP_inuse 2"]);
    check(Collector::Softnet, &["node_softnet_processed_total{cpu=\"1\"} 22903"]);
    check(Collector::Arp, &["node_arp_entries{device=\"eth0\"} 1"]);
    let page = collect(&only(&[Collector::Netstat])).to_string();
    for name in ["Tcp_CurrEstab", "TcpExt_ListenDrops", "IpExt_InOctets", "Udp_InDatagrams", "Ip6_InOctets"] {
        assert!(page.contains(&format!("node_netstat_{name} ")), "{name} is not in\n{page}");
    }
    assert!(!page.contains("Tcp_RtoMin"), "{page}");
}

#[test]
fn kernel() {
    check(
        Collector::Pressure,
        &[
            "node_pressure_cpu_waiting_seconds_total 2258.872836",
            "node_pressure_io_stalled_seconds_total 8.484373",
            "node_pressure_irq_stalled_seconds_total 1.5",
        ],
    );
    check(Collector::Filefd, &["node_filefd_allocated 2147"]);
    check(Collector::Conntrack, &["node_nf_conntrack_entries 411", "node_nf_conntrack_entries_limit 262144"]);
    check(Collector::Entropy, &["node_entropy_available_bits 256"]);
    check(Collector::Time, &["node_time_seconds 1795255200.5"]);
    let page = collect(&only(&[Collector::Uname])).to_string();
    assert!(page.contains("nodename=\"node-1\",release=\"6.18.44\",sysname=\"Linux\""), "{page}");
    assert!(page.contains("domainname=\"(none)\""), "{page}");
}

#[test]
fn a_missing_file_costs_its_own_collector_alone() {
    let paths = Paths { procfs: "/nowhere".into(), sysfs: "/nowhere".into(), ..Paths::default() };
    let clock = Arc::new(ManualClock::at(Timestamp::default()));
    let page = Host::new(&HostConfig::default(), &paths, clock).unwrap().collect().to_string();
    assert!(page.contains("node_scrape_collector_success{collector=\"cpu\"} 0"), "{page}");
    assert!(page.contains("node_scrape_collector_success{collector=\"time\"} 1"), "{page}");
}

#[test]
fn mount_lines_are_unescaped() {
    let line = r"31 27 0:43 / /a\040b\134c rw - ext4 /dev/v\011x ro";
    let mount = mounts::parse(line).next().unwrap();
    assert_eq!((mount.mount_point.as_str(), mount.device.as_str()), (r"/a b\c", "/dev/v\tx"));
    assert!(mount.read_only);
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text: String, words in "([a-z0-9:]{1,6}[ \n\t:]){0,60}") {
        let none = Regex::new("^$").unwrap();
        for text in [text, words.clone(), format!("cpu{words}"), format!("a: {words}\na: {words}")] {
            let mut page = Page::default();
            let _ = cpu::Cpus::default().collect(&text, &mut page);
            cpu::schedstat(&text, &mut page);
            kernel::stat(&text, &mut page);
            let _ = kernel::loadavg(&text, &mut page);
            let _ = kernel::filefd(&text, &mut page);
            memory::meminfo(&text, &mut page);
            memory::vmstat(&text, &mut page);
            disk::collect(&text, &none, &mut page);
            network::netdev(&text, |_| false, &mut page);
            network::arp(&text, &mut page);
            sockets::netstat(&text, &mut page);
            sockets::netstat6(&text, &mut page);
            sockets::sockstat(&text, 4096.0, &mut page);
            sockets::softnet(&text, &mut page);
            let _ = sockets::page_bytes(text.as_bytes());
            let _ = pressure::total(&text, "some");
            let _ = mounts::parse(&text).count();
        }
    }

    #[test]
    fn traffic_comes_back(numbers: [u32; 16], device in "[a-z0-9]{1,8}") {
        let words: Vec<String> = numbers.iter().map(u32::to_string).collect();
        let text = format!("Inter-|\n face |\n  {device}:{}\n", words.join(" "));
        let found: Vec<_> = network::parse_dev(&text).collect();
        prop_assert_eq!(found.len(), 1);
        prop_assert_eq!(found[0].0, device);
        prop_assert_eq!(found[0].1, numbers.map(f64::from));
    }
}
