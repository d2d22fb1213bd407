//! Arrow Flight SQL: the views of SQL for JDBC, ADBC and Arrow clients, over gRPC.
//!
//! Tickets and prepared statements are the text of the query itself, so that nothing is kept between two calls, and
//! each call is checked anew. What a query may cost is the same as over HTTP; an answer that would have to be cut is
//! refused, since a stream of Arrow has no place to say it.

use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo,
    CommandGetTableTypes, CommandGetTables, CommandPreparedStatementQuery, CommandStatementQuery,
    DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage,
    SchemaAsIpc, Ticket,
};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use greylight_store::model::{Caller, Problem, TenantId};
use greylight_store::read::Budget;
use prost::Message as _;
use prost::bytes::Bytes;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::Queries;
use crate::http::check_scope;
use crate::queries::Asked;
use crate::sql::{self, Format, Output, SqlError};

/// Largest message taken: requests hold one query, which is capped at 16 KiB.
const MESSAGE_BYTES_MAX: usize = 256 * 1024;

/// Where all views are.
const CATALOG: &str = "datafusion";
const SCHEMA: &str = "public";
const TABLE_TYPE: &str = "VIEW";

type Answer<T> = Result<Response<T>, Status>;
type DataStream = <Flight as FlightService>::DoGetStream;

/// What a client may ask about the server itself.
static ABOUT: LazyLock<Option<SqlInfoData>> = LazyLock::new(|| {
    let mut about = SqlInfoDataBuilder::new();
    about.append(SqlInfo::FlightSqlServerName, "Greylight");
    about.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    about.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    about.append(SqlInfo::FlightSqlServerReadOnly, true);
    about.append(SqlInfo::FlightSqlServerSql, true);
    about.append(SqlInfo::FlightSqlServerSubstrait, false);
    about.append(SqlInfo::FlightSqlServerTransaction, 0_i32);
    about.append(SqlInfo::FlightSqlServerCancel, false);
    about.build().ok()
});

/// Makes the router of the service. A [`Caller`] must stand in each request's extensions.
pub fn router(queries: Queries) -> axum::Router {
    let service = FlightServiceServer::new(Flight { queries }).max_decoding_message_size(MESSAGE_BYTES_MAX);
    Routes::new(service).into_axum_router()
}

/// The service.
#[derive(Clone, Debug)]
struct Flight {
    queries: Queries,
}

impl Flight {
    /// Runs work over the query threads, for a caller that may read.
    async fn run<T: Send + 'static>(
        &self,
        caller: Caller,
        text: String,
        work: impl FnMut(&Queries, &TenantId, &Budget) -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, Status> {
        let asked = Asked { tenant: caller.tenant, kind: "sql", text, timeout: None };
        sql::ask(&self.queries, asked, work).await.map_err(|problem| status(&problem))
    }

    async fn schema_of(&self, caller: Caller, text: &str) -> Result<SchemaRef, Status> {
        let asked = text.to_owned();
        self.run(caller, text.to_owned(), move |queries, tenant, budget| {
            sql::describe(queries, tenant, &asked, budget)
        })
        .await
    }

    async fn rows_of(&self, caller: Caller, text: &[u8]) -> Answer<DataStream> {
        let text = query_text(text)?;
        let limit = self.queries.config().rows_max;
        let request = sql::Request { text: text.clone(), format: Format::Arrow, limit };
        let output: Output = self
            .run(caller, text, move |queries, tenant, budget| sql::run(queries, tenant, &request, budget))
            .await?;
        if output.truncated() {
            let text = format!(
                "the answer has more than {limit} rows (query.rows_max); narrow the query or add LIMIT"
            );
            return Err(Status::resource_exhausted(text));
        }
        let partial = if output.partial() { "true" } else { "false" };
        let batches: Vec<RecordBatch> = output.cut().collect();
        let mut response = Response::new(encoded(Arc::clone(output.schema()), batches));
        response.metadata_mut().insert("greylight-partial", partial.parse().map_err(|_| internal("header"))?);
        Ok(response)
    }
}

/// Writes batches as Flight messages.
fn encoded(schema: SchemaRef, batches: Vec<RecordBatch>) -> DataStream {
    let batches = stream::iter(batches.into_iter().map(Ok::<_, FlightError>));
    FlightDataEncoderBuilder::new().with_schema(schema).build(batches).map_err(Status::from).boxed()
}

fn one(schema: SchemaRef, batch: arrow_flight::error::Result<RecordBatch>) -> Answer<DataStream> {
    Ok(Response::new(encoded(schema, vec![batch.map_err(Status::from)?])))
}

/// Says where the rows of a command are: behind a ticket that is the command itself.
fn info_of(
    schema: &Schema,
    command: &impl ProstMessageExt,
    descriptor: FlightDescriptor,
) -> Answer<FlightInfo> {
    let ticket = Ticket::new(command.as_any().encode_to_vec());
    let info = FlightInfo::new()
        .try_with_schema(schema)
        .map_err(|e| Status::internal(format!("writing the schema failed: {e}")))?
        .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
        .with_descriptor(descriptor);
    Ok(Response::new(info))
}

fn query_text(bytes: &[u8]) -> Result<String, Status> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Status::invalid_argument("the statement handle is not known"))?;
    Ok(text.to_owned())
}

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>();
    let caller = caller
        .ok_or_else(|| Status::unauthenticated("this server needs a token: authorization: Bearer TOKEN"))?;
    check_scope(caller).map_err(|problem| status(&problem))?;
    Ok(caller.clone())
}

fn status(problem: &Problem) -> Status {
    Status::new(Code::from_i32(problem.kind.grpc_code()), problem.to_string())
}

fn internal(at: &str) -> Status {
    Status::internal(format!("failed for a fault of ours: {at}"))
}

fn about() -> Result<&'static SqlInfoData, Status> {
    ABOUT.as_ref().ok_or_else(|| internal("server information"))
}

#[tonic::async_trait]
impl FlightSqlService for Flight {
    type FlightService = Self;

    /// Clients that log in first get back what they came with, as the token of later calls.
    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Answer<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>> {
        caller(&request)?;
        let shown = request.metadata().get("authorization").cloned();
        let mut response: Response<Pin<Box<dyn Stream<Item = _> + Send>>> =
            Response::new(Box::pin(stream::iter([Ok(HandshakeResponse::default())])));
        if let Some(shown) = shown {
            response.metadata_mut().insert("authorization", shown);
        }
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let schema = self.schema_of(caller(&request)?, &query.query).await?;
        let ticket = TicketStatementQuery { statement_handle: Bytes::from(query.query) };
        info_of(&schema, &ticket, request.into_inner())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        let text = query_text(&query.prepared_statement_handle)?;
        let schema = self.schema_of(caller(&request)?, &text).await?;
        info_of(&schema, &query, request.into_inner())
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        caller(&request)?;
        info_of(&query.into_builder().schema(), &query, request.into_inner())
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        caller(&request)?;
        info_of(&query.clone().into_builder().schema(), &query, request.into_inner())
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        caller(&request)?;
        info_of(&query.clone().into_builder().schema(), &query, request.into_inner())
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        caller(&request)?;
        info_of(&query.into_builder().schema(), &query, request.into_inner())
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Answer<FlightInfo> {
        caller(&request)?;
        info_of(&query.clone().into_builder(about()?).schema(), &query, request.into_inner())
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Answer<DataStream> {
        self.rows_of(caller(&request)?, &ticket.statement_handle).await
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Answer<DataStream> {
        self.rows_of(caller(&request)?, &query.prepared_statement_handle).await
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> Answer<DataStream> {
        caller(&request)?;
        let mut builder = query.into_builder();
        builder.append(CATALOG);
        one(builder.schema(), builder.build())
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> Answer<DataStream> {
        caller(&request)?;
        let mut builder = query.into_builder();
        builder.append(CATALOG, SCHEMA);
        one(builder.schema(), builder.build())
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Answer<DataStream> {
        let tables = self
            .run(caller(&request)?, "tables".into(), |queries, tenant, budget| {
                sql::tables(queries, tenant, budget)
            })
            .await?;
        let mut builder = query.into_builder();
        for (name, schema) in tables {
            builder.append(CATALOG, SCHEMA, name, TABLE_TYPE, &schema).map_err(Status::from)?;
        }
        one(builder.schema(), builder.build())
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<Ticket>,
    ) -> Answer<DataStream> {
        caller(&request)?;
        let mut builder = query.into_builder();
        builder.append(TABLE_TYPE);
        one(builder.schema(), builder.build())
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<Ticket>,
    ) -> Answer<DataStream> {
        caller(&request)?;
        let builder = query.into_builder(about()?);
        one(builder.schema(), builder.build())
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        caller(&request)?;
        let mut sent = request.into_inner();
        while let Some(message) = sent.next().await {
            if !message?.data_body.is_empty() {
                return Err(Status::unimplemented(
                    "statements take no parameters here; write the values into the query",
                ));
            }
        }
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(query.prepared_statement_handle) })
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let schema = self.schema_of(caller(&request)?, &query.query).await?;
        let written = |schema: &Schema| -> Result<Bytes, Status> {
            let message: IpcMessage = SchemaAsIpc::new(schema, &Default::default())
                .try_into()
                .map_err(|e| Status::internal(format!("writing the schema failed: {e}")))?;
            Ok(message.0)
        };
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: Bytes::from(query.query),
            dataset_schema: written(&schema)?,
            parameter_schema: written(&Schema::empty())?,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        _: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        caller(&request).map(|_| ())
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
