//! What the receivers do, seen from outside: requests against the routers, answers and what the store then
//! holds.

mod fixture;
mod remote_write;
mod native;
mod otlp;
mod loki;
mod grpc;
mod settings;
