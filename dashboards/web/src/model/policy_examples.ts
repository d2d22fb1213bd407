// Policies to begin with. Each is accepted as it stands; the names of metrics are for the reader to replace.

export const EXAMPLES = ["http", "logs", "containers", "empty"] as const;
export type Example = (typeof EXAMPLES)[number];

const HTTP = `# Names of metrics follow the Prometheus client libraries; put your own in their place.
name: my-service
alpha: 0.01            # chance that a good release is refused, over all checks, phases and looks
alpha_go: 0.05         # chance that a release as bad as a margin is let through
interval: 1m
warm_up: 2m
pre_period: 24h

phases:
  - name: functional
    lasts: { at_least: 10m, at_most: 1h }
    checks:
      - name: error share
        kind: ratio
        events: http_requests_total{code=~"5..", $cohort}
        trials: http_requests_total{$cohort}
        harm: up
        margin: { absolute: 0.002 }    # go means: worse by less than 0.2 points
        minimum: { trials: 500 }
      - name: log patterns
        kind: patterns
        logs: "{$cohort}"
        severity: warn

  - name: performance
    lasts: { at_least: 30m, at_most: 2h }
    checks:
      - name: latency
        kind: distribution
        histogram: http_request_duration_seconds{$cohort}
        harm: up
        margin: { relative: 10%, at: [0.5, 0.99] }
`;

const LOGS = `# Fields of the access log: status and request_time; put your own in their place.
name: my-service
alpha: 0.01
interval: 1m
warm_up: 2m
pre_period: 24h

phases:
  - name: functional
    lasts: { at_least: 10m, at_most: 1h }
    checks:
      - name: error share
        kind: ratio
        events: { logs: "status:>=500", match: "{$cohort}" }
        trials: { logs: "*", match: "{$cohort}" }
        harm: up
        margin: { absolute: 0.002 }
      - name: log patterns
        kind: patterns
        logs: "{$cohort}"
        severity: warn

  - name: performance
    lasts: { at_least: 30m, at_most: 2h }
    checks:
      - name: time in the access log
        kind: distribution
        values: { logs: "*", match: "{$cohort}", field: request_time }
        harm: up
        margin: { relative: 10% }
`;

const CONTAINERS = `# Metrics of cAdvisor or of our agent.
name: my-containers
alpha: 0.01
interval: 1m
warm_up: 5m
pre_period: 24h
unit: [pod, instance]
births: { window: 30d }      # new pods are held against earlier starts

phases:
  - name: resources
    lasts: { at_least: 30m, at_most: 3h }
    checks:
      - name: cpu
        kind: mean
        value: sum by (pod) (rate(container_cpu_usage_seconds_total{$cohort}[$interval]))
        harm: up
        margin: { relative: 10% }
      - name: memory
        kind: mean
        value: sum by (pod) (container_memory_working_set_bytes{$cohort})
        harm: up
        margin: { relative: 10% }
      - name: restarts
        kind: count
        events: kube_pod_container_status_restarts_total{$cohort}
        harm: up
        vote: veto
`;

const EMPTY = `name: my-service
phases:
  - name: canary
    lasts: { at_most: 1h }
    checks:
      - name: error share
        kind: ratio
        events: http_requests_total{code=~"5..", $cohort}
        trials: http_requests_total{$cohort}
        margin: { absolute: 0.01 }
`;

const TEXTS: Readonly<Record<Example, string>> = { http: HTTP, logs: LOGS, containers: CONTAINERS, empty: EMPTY };

export function exampleText(example: Example): string {
  return TEXTS[example];
}

export function exampleOf(word: string | null): Example | null {
  return EXAMPLES.find((one) => one === word) ?? null;
}
