//! The messages of OTLP's metrics and logs, as the `.proto` files of version 1 define them. A test holds them
//! against the generated types.

use opentelemetry_proto::tonic::logs::v1::SeverityNumber;
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;

use super::{Field, Kind, Message};

const fn one(number: u8, name: &'static str, kind: Kind) -> Field {
    Field { name, number, kind, is_list: false }
}

const fn list(number: u8, name: &'static str, kind: Kind) -> Field {
    Field { name, number, kind, is_list: true }
}

const INT32: Kind = Kind::Int(i32::MIN as i64, i32::MAX as i64);
const INT64: Kind = Kind::Int(i64::MIN, i64::MAX);
const UINT32: Kind = Kind::Uint(u32::MAX as u64);
const UINT64: Kind = Kind::Uint(u64::MAX);
const SEVERITY: Kind = Kind::Enum(|name| SeverityNumber::from_str_name(name).map(|value| value as i32));
const TEMPORALITY: Kind =
    Kind::Enum(|name| AggregationTemporality::from_str_name(name).map(|value| value as i32));

/// `ExportLogsServiceRequest`.
pub(crate) static EXPORT_LOGS: Message =
    Message { fields: &[list(1, "resourceLogs", Kind::Message(&RESOURCE_LOGS))] };

/// `ExportMetricsServiceRequest`.
pub(crate) static EXPORT_METRICS: Message =
    Message { fields: &[list(1, "resourceMetrics", Kind::Message(&RESOURCE_METRICS))] };

static RESOURCE_LOGS: Message = Message {
    fields: &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        list(2, "scopeLogs", Kind::Message(&SCOPE_LOGS)),
        one(3, "schemaUrl", Kind::Text),
    ],
};

static SCOPE_LOGS: Message = Message {
    fields: &[
        one(1, "scope", Kind::Message(&SCOPE)),
        list(2, "logRecords", Kind::Message(&LOG_RECORD)),
        one(3, "schemaUrl", Kind::Text),
    ],
};

static LOG_RECORD: Message = Message {
    fields: &[
        one(1, "timeUnixNano", Kind::Fixed64),
        one(11, "observedTimeUnixNano", Kind::Fixed64),
        one(2, "severityNumber", SEVERITY),
        one(3, "severityText", Kind::Text),
        one(5, "body", Kind::Message(&ANY_VALUE)),
        list(6, "attributes", Kind::Message(&KEY_VALUE)),
        one(7, "droppedAttributesCount", UINT32),
        one(8, "flags", Kind::Fixed32),
        one(9, "traceId", Kind::Hex),
        one(10, "spanId", Kind::Hex),
        one(12, "eventName", Kind::Text),
    ],
};

static RESOURCE: Message = Message {
    fields: &[
        list(1, "attributes", Kind::Message(&KEY_VALUE)),
        one(2, "droppedAttributesCount", UINT32),
        list(3, "entityRefs", Kind::Message(&ENTITY_REF)),
    ],
};

static ENTITY_REF: Message = Message {
    fields: &[
        one(1, "schemaUrl", Kind::Text),
        one(2, "type", Kind::Text),
        list(3, "idKeys", Kind::Text),
        list(4, "descriptionKeys", Kind::Text),
    ],
};

static SCOPE: Message = Message {
    fields: &[
        one(1, "name", Kind::Text),
        one(2, "version", Kind::Text),
        list(3, "attributes", Kind::Message(&KEY_VALUE)),
        one(4, "droppedAttributesCount", UINT32),
    ],
};

static KEY_VALUE: Message = Message {
    fields: &[
        one(1, "key", Kind::Text),
        one(2, "value", Kind::Message(&ANY_VALUE)),
        one(3, "keyStrindex", INT32),
    ],
};

static ANY_VALUE: Message = Message {
    fields: &[
        one(1, "stringValue", Kind::Text),
        one(2, "boolValue", Kind::Bool),
        one(3, "intValue", INT64),
        one(4, "doubleValue", Kind::Double),
        one(5, "arrayValue", Kind::Message(&ARRAY_VALUE)),
        one(6, "kvlistValue", Kind::Message(&KEY_VALUE_LIST)),
        one(7, "bytesValue", Kind::Base64),
        one(8, "stringValueStrindex", INT32),
    ],
};

static ARRAY_VALUE: Message = Message { fields: &[list(1, "values", Kind::Message(&ANY_VALUE))] };

static KEY_VALUE_LIST: Message = Message { fields: &[list(1, "values", Kind::Message(&KEY_VALUE))] };

static RESOURCE_METRICS: Message = Message {
    fields: &[
        one(1, "resource", Kind::Message(&RESOURCE)),
        list(2, "scopeMetrics", Kind::Message(&SCOPE_METRICS)),
        one(3, "schemaUrl", Kind::Text),
    ],
};

static SCOPE_METRICS: Message = Message {
    fields: &[
        one(1, "scope", Kind::Message(&SCOPE)),
        list(2, "metrics", Kind::Message(&METRIC)),
        one(3, "schemaUrl", Kind::Text),
    ],
};

static METRIC: Message = Message {
    fields: &[
        one(1, "name", Kind::Text),
        one(2, "description", Kind::Text),
        one(3, "unit", Kind::Text),
        one(5, "gauge", Kind::Message(&GAUGE)),
        one(7, "sum", Kind::Message(&SUM)),
        one(9, "histogram", Kind::Message(&HISTOGRAM)),
        one(10, "exponentialHistogram", Kind::Message(&EXPONENTIAL_HISTOGRAM)),
        one(11, "summary", Kind::Message(&SUMMARY)),
        list(12, "metadata", Kind::Message(&KEY_VALUE)),
    ],
};

static GAUGE: Message = Message { fields: &[list(1, "dataPoints", Kind::Message(&NUMBER_POINT))] };

static SUM: Message = Message {
    fields: &[
        list(1, "dataPoints", Kind::Message(&NUMBER_POINT)),
        one(2, "aggregationTemporality", TEMPORALITY),
        one(3, "isMonotonic", Kind::Bool),
    ],
};

static HISTOGRAM: Message = Message {
    fields: &[
        list(1, "dataPoints", Kind::Message(&HISTOGRAM_POINT)),
        one(2, "aggregationTemporality", TEMPORALITY),
    ],
};

static EXPONENTIAL_HISTOGRAM: Message = Message {
    fields: &[
        list(1, "dataPoints", Kind::Message(&EXPONENTIAL_POINT)),
        one(2, "aggregationTemporality", TEMPORALITY),
    ],
};

static SUMMARY: Message = Message { fields: &[list(1, "dataPoints", Kind::Message(&SUMMARY_POINT))] };

static NUMBER_POINT: Message = Message {
    fields: &[
        list(7, "attributes", Kind::Message(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Kind::Fixed64),
        one(3, "timeUnixNano", Kind::Fixed64),
        one(4, "asDouble", Kind::Double),
        one(6, "asInt", Kind::SignedFixed64),
        list(5, "exemplars", Kind::Message(&EXEMPLAR)),
        one(8, "flags", UINT32),
    ],
};

static HISTOGRAM_POINT: Message = Message {
    fields: &[
        list(9, "attributes", Kind::Message(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Kind::Fixed64),
        one(3, "timeUnixNano", Kind::Fixed64),
        one(4, "count", Kind::Fixed64),
        one(5, "sum", Kind::Double),
        list(6, "bucketCounts", Kind::Fixed64),
        list(7, "explicitBounds", Kind::Double),
        list(8, "exemplars", Kind::Message(&EXEMPLAR)),
        one(10, "flags", UINT32),
        one(11, "min", Kind::Double),
        one(12, "max", Kind::Double),
    ],
};

static EXPONENTIAL_POINT: Message = Message {
    fields: &[
        list(1, "attributes", Kind::Message(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Kind::Fixed64),
        one(3, "timeUnixNano", Kind::Fixed64),
        one(4, "count", Kind::Fixed64),
        one(5, "sum", Kind::Double),
        one(6, "scale", Kind::Zigzag),
        one(7, "zeroCount", Kind::Fixed64),
        one(8, "positive", Kind::Message(&BUCKETS)),
        one(9, "negative", Kind::Message(&BUCKETS)),
        one(10, "flags", UINT32),
        list(11, "exemplars", Kind::Message(&EXEMPLAR)),
        one(12, "min", Kind::Double),
        one(13, "max", Kind::Double),
        one(14, "zeroThreshold", Kind::Double),
    ],
};

static BUCKETS: Message =
    Message { fields: &[one(1, "offset", Kind::Zigzag), list(2, "bucketCounts", UINT64)] };

static SUMMARY_POINT: Message = Message {
    fields: &[
        list(7, "attributes", Kind::Message(&KEY_VALUE)),
        one(2, "startTimeUnixNano", Kind::Fixed64),
        one(3, "timeUnixNano", Kind::Fixed64),
        one(4, "count", Kind::Fixed64),
        one(5, "sum", Kind::Double),
        list(6, "quantileValues", Kind::Message(&QUANTILE)),
        one(8, "flags", UINT32),
    ],
};

static QUANTILE: Message =
    Message { fields: &[one(1, "quantile", Kind::Double), one(2, "value", Kind::Double)] };

static EXEMPLAR: Message = Message {
    fields: &[
        list(7, "filteredAttributes", Kind::Message(&KEY_VALUE)),
        one(2, "timeUnixNano", Kind::Fixed64),
        one(3, "asDouble", Kind::Double),
        one(6, "asInt", Kind::SignedFixed64),
        one(4, "spanId", Kind::Hex),
        one(5, "traceId", Kind::Hex),
    ],
};
