//! Tests of this module.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::clock::{ManualClock, Timestamp};

const CART: &str = "aaaaaaaa0123456789abcdef0123456789abcdef0123456789abcdef11112222";
const POD: &str = "bbbbbbbb0123456789abcdef0123456789abcdef0123456789abcdef33334444";

fn collect(version: &str, all_cgroups: bool) -> String {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cgroup");
    let paths = Paths {
        procfs: base.join("root/proc"),
        sysfs: base.join("root/sys"),
        cgroup: base.join(version).join("cgroup"),
        pod_logs: base.join("root/pods"),
        container_logs: base.join("root/containers"),
        docker_containers: base.join("root/docker"),
        ..Paths::default()
    };
    let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_795_255_200_000)));
    let config = ContainerConfig { all_cgroups, ..ContainerConfig::default() };
    let mut containers = Containers::new(&config, &paths, clock);
    let first = containers.collect().to_string();
    assert_eq!(containers.collect().to_string(), first, "a second reading differs");
    first
}

#[track_caller]
fn check(page: &str, cgroup: &str, name: &str, more: &str, value: &str) {
    let start = format!("{name}{{id=\"{cgroup}\"");
    let line = page.lines().find(|line| line.starts_with(&start) && line.contains(more));
    let line = line.unwrap_or_else(|| panic!("{start} {more} is not in\n{page}"));
    assert!(line.ends_with(&format!("}} {value}")), "{line}: want {value}");
}

fn check_cart(page: &str, cgroup: &str) {
    let identity = "name=\"cart\",image=\"registry.example/shop/cart:1.4.2\"";
    check(page, cgroup, "container_cpu_usage_seconds_total", identity, "1.5");
    let labels = "service_name=\"cart\",service_version=\"1.4.2\",track=\"canary\"";
    check(page, cgroup, "container_cpu_user_seconds_total", labels, "1");
    check(page, cgroup, "container_cpu_system_seconds_total", "", "0.5");
    check(page, cgroup, "container_cpu_cfs_throttled_seconds_total", "", "0.25");
    check(page, cgroup, "container_cpu_cfs_periods_total", "", "40");
    check(page, cgroup, "container_memory_usage_bytes", "", "52428800");
    check(page, cgroup, "container_memory_working_set_bytes", "", "41943040");
    check(page, cgroup, "container_memory_rss", "", "20971520");
    check(page, cgroup, "container_memory_cache", "", "31457280");
    check(page, cgroup, "container_memory_swap", "", "4096");
    check(page, cgroup, "container_memory_failures_total", "failure_type=\"pgmajfault\"", "10");
    check(page, cgroup, "container_oom_events_total", "", "1");
    check(page, cgroup, "container_spec_memory_limit_bytes", "", "268435456");
    check(page, cgroup, "container_spec_cpu_quota", "", "50000");
    check(page, cgroup, "container_spec_cpu_period", "", "100000");
    check(page, cgroup, "container_fs_reads_bytes_total", "device=\"/dev/vda\"", "4096");
    check(page, cgroup, "container_fs_writes_total", "device=\"/dev/vda\"", "2");
    check(page, cgroup, "container_network_receive_bytes_total", "interface=\"eth0\"", "1000");
    check(page, cgroup, "container_network_transmit_packets_dropped_total", "interface=\"eth0\"", "4");
    check(page, cgroup, "container_threads", "", "7");
    check(page, cgroup, "container_processes", "", "2");
    check(page, cgroup, "container_last_seen", "", "1795255200");
    assert!(!page.contains("interface=\"lo\""));
    assert!(page.contains("machine_cpu_cores 2\n") && page.contains("machine_memory_bytes 16777216\n"));
}

#[test]
fn version_1() {
    let page = collect("v1", false);
    check_cart(&page, &format!("/docker/{CART}"));
    let pod = format!("/kubepods/burstable/pod0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0/{POD}");
    let identity = "namespace=\"shop\",pod=\"cart-7f9c\",container=\"app\"";
    check(&page, &pod, "container_cpu_usage_seconds_total", identity, "3");
    check(&page, &pod, "container_spec_memory_limit_bytes", "", "0");
    check(&page, "/", "container_cpu_usage_seconds_total", "", "90");
    check(&page, "/", "container_memory_working_set_bytes", "", "11999500");
    assert_eq!(page.matches("container_last_seen{").count(), 4, "three containers and the machine");
    let pod_line =
        page.lines().any(|line| line.starts_with("container_spec_cpu_quota") && line.contains(&pod));
    assert!(!pod_line, "no quota is none");
}

#[test]
fn version_2() {
    let page = collect("v2", false);
    check_cart(&page, &format!("/system.slice/docker-{CART}.scope"));
    let pod = format!(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f1e2d3c_4b5a_6978_8796_a5b4c3d2e1f0.slice/\
         cri-containerd-{POD}.scope"
    );
    let identity = "namespace=\"shop\",pod=\"cart-7f9c\",container=\"app\"";
    check(&page, &pod, "container_memory_rss", identity, "41943040");
    check(&page, &pod, "container_pressure_io_waiting_seconds_total", "", "2");
    check(&page, &pod, "container_pressure_cpu_stalled_seconds_total", "", "1");
    check(&page, &pod, "container_spec_memory_limit_bytes", "", "0");
    assert_eq!(page.matches("container_last_seen{").count(), 4, "three containers and the machine");
    assert!(!page.contains("conmon") && !page.contains("ssh.service"));
    let all = collect("v2", true);
    assert!(all.contains("id=\"/system.slice/ssh.service\""), "{all}");
}

#[test]
fn no_cgroups_are_no_error() {
    let clock = Arc::new(ManualClock::at(Timestamp::default()));
    let paths = Paths { cgroup: "/nowhere".into(), ..Paths::default() };
    let page = Containers::new(&ContainerConfig::default(), &paths, clock).collect();
    assert_eq!(page.n_samples(), 0);
}

#[test]
fn containers_are_known_by_their_paths() {
    for (path, id) in [
        (format!("/docker/{CART}"), Some(CART)),
        (format!("/system.slice/docker-{CART}.scope"), Some(CART)),
        (format!("/system.slice/nerdctl-{CART}.scope"), Some(CART)),
        (format!("/kubepods/besteffort/pod11112222-3333-4444-5555-666677778888/{CART}"), Some(CART)),
        (format!("/kubepods.slice/a.slice/crio-{CART}.scope"), Some(CART)),
        (format!("/kubepods.slice/a.slice/crio-conmon-{CART}.scope"), None),
        (format!("/machine.slice/libpod-{CART}.scope"), Some(CART)),
        ("/lxc/web".to_owned(), Some("web")),
        ("/system.slice/ssh.service".to_owned(), None),
        ("/".to_owned(), None),
    ] {
        assert_eq!(identity::container_id(&path), id, "{path}");
    }
    let uid = "11112222-3333-4444-5555-666677778888";
    for path in [
        format!("/kubepods/besteffort/pod{uid}/{CART}"),
        format!("/kubepods.slice/kubepods-pod{}.slice/x", uid.replace('-', "_")),
    ] {
        assert_eq!(identity::pod_uid(&path).as_deref(), Some(uid), "{path}");
    }
    assert_eq!(identity::pod_uid("/system.slice/podman.service"), None);
}

proptest! {
    #[test]
    fn no_path_makes_it_panic(path: String, tail in "[a-z0-9/._-]{0,80}") {
        for path in [path, format!("/kubepods/pod{tail}"), format!("/docker/{tail}.scope")] {
            let _ = identity::container_id(&path);
            let _ = identity::pod_uid(&path);
        }
    }

    #[test]
    fn no_file_makes_it_panic(text in "([a-z0-9:=]{1,6}[ \n]){0,40}") {
        let dir = tempfile::tempdir().unwrap();
        for file in ["cpu.stat", "cpu.max", "memory.stat", "io.stat", "memory.max", "cgroup.procs", "cpu.pressure"] {
            crate::tail::tests::write(&dir.path().join(file), text.as_bytes());
        }
        let _ = v2::read(dir.path());
        for controller in ["memory", "cpu", "blkio"] {
            std::fs::create_dir(dir.path().join(controller)).unwrap();
        }
        for file in ["memory/memory.stat", "cpu/cpu.stat", "blkio/blkio.throttle.io_serviced"] {
            crate::tail::tests::write(&dir.path().join(file), text.as_bytes());
        }
        let _ = v1::read(dir.path(), "/");
    }
}
