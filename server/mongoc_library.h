/* The MongoDB driver, loaded when a MongoDB is asked for and not before: linked, it would cost
 * every command some 8 MB, and its constructor would make a file of counters in shared memory that
 * a crash leaves behind. Include this in place of mongoc.h: its functions are then called through a
 * table. */
#ifndef CP_SERVER_MONGOC_LIBRARY_H
#define CP_SERVER_MONGOC_LIBRARY_H

#include "base/error.h"

#include <mongoc/mongoc.h>

/* clang-format off */
#define CP_MONGOC_FUNCTIONS(X) \
    X(bson_append_array_begin) X(bson_append_array_end) X(bson_append_bool) \
    X(bson_append_date_time) X(bson_append_document) X(bson_append_document_begin) \
    X(bson_append_document_end) X(bson_append_double) X(bson_append_int32) \
    X(bson_append_int64) X(bson_append_null) X(bson_append_oid) X(bson_append_utf8) \
    X(bson_as_canonical_extended_json) X(bson_as_relaxed_extended_json) X(bson_destroy) \
    X(bson_free) X(bson_iter_as_int64) X(bson_iter_init_find) X(bson_iter_oid) \
    X(bson_iter_type) X(bson_iter_utf8) X(bson_new_from_json) X(bson_oid_init_from_data) \
    X(mongoc_bulk_operation_destroy) X(mongoc_bulk_operation_execute) \
    X(mongoc_bulk_operation_replace_one_with_opts) \
    X(mongoc_bulk_operation_update_one_with_opts) X(mongoc_change_stream_destroy) \
    X(mongoc_change_stream_error_document) X(mongoc_change_stream_get_resume_token) \
    X(mongoc_change_stream_next) X(mongoc_cleanup) X(mongoc_client_command_simple) \
    X(mongoc_client_get_collection) X(mongoc_client_get_database) \
    X(mongoc_client_pool_destroy) X(mongoc_client_pool_new_with_error) \
    X(mongoc_client_pool_pop) X(mongoc_client_pool_push) X(mongoc_client_pool_set_error_api) \
    X(mongoc_collection_create_bulk_operation_with_opts) X(mongoc_collection_delete_many) \
    X(mongoc_collection_destroy) X(mongoc_collection_find_with_opts) \
    X(mongoc_collection_insert_one) X(mongoc_cursor_destroy) X(mongoc_cursor_error) \
    X(mongoc_cursor_next) X(mongoc_database_destroy) X(mongoc_database_watch) X(mongoc_init) \
    X(mongoc_log_set_handler) X(mongoc_uri_destroy) X(mongoc_uri_get_appname) \
    X(mongoc_uri_get_option_as_bool) X(mongoc_uri_get_tls) X(mongoc_uri_has_option) \
    X(mongoc_uri_new_with_error) X(mongoc_uri_set_appname) X(mongoc_uri_set_option_as_int32)
/* clang-format on */

typedef struct cp_mongoc_functions {
#define CP_MONGOC_FIELD(name) __typeof__(name) *name;
    CP_MONGOC_FUNCTIONS(CP_MONGOC_FIELD)
#undef CP_MONGOC_FIELD
} cp_mongoc_functions;

/* Filled by cp_mongoc_need. */
extern cp_mongoc_functions cp_mongoc;

/* Loads and initialises the driver the first time; any thread. CP_ERR_NOT_FOUND names the library.
 */
cp_status cp_mongoc_need(cp_error *err) CP_MUST_CHECK;

#ifndef CP_MONGOC_LIBRARY_ITSELF
/* clang-format off */
#define bson_append_array_begin cp_mongoc.bson_append_array_begin
#define bson_append_array_end cp_mongoc.bson_append_array_end
#define bson_append_bool cp_mongoc.bson_append_bool
#define bson_append_date_time cp_mongoc.bson_append_date_time
#define bson_append_document cp_mongoc.bson_append_document
#define bson_append_document_begin cp_mongoc.bson_append_document_begin
#define bson_append_document_end cp_mongoc.bson_append_document_end
#define bson_append_double cp_mongoc.bson_append_double
#define bson_append_int32 cp_mongoc.bson_append_int32
#define bson_append_int64 cp_mongoc.bson_append_int64
#define bson_append_null cp_mongoc.bson_append_null
#define bson_append_oid cp_mongoc.bson_append_oid
#define bson_append_utf8 cp_mongoc.bson_append_utf8
#define bson_as_canonical_extended_json cp_mongoc.bson_as_canonical_extended_json
#define bson_as_relaxed_extended_json cp_mongoc.bson_as_relaxed_extended_json
#define bson_destroy cp_mongoc.bson_destroy
#define bson_free cp_mongoc.bson_free
#define bson_iter_as_int64 cp_mongoc.bson_iter_as_int64
#define bson_iter_init_find cp_mongoc.bson_iter_init_find
#define bson_iter_oid cp_mongoc.bson_iter_oid
#define bson_iter_type cp_mongoc.bson_iter_type
#define bson_iter_utf8 cp_mongoc.bson_iter_utf8
#define bson_new_from_json cp_mongoc.bson_new_from_json
#define bson_oid_init_from_data cp_mongoc.bson_oid_init_from_data
#define mongoc_bulk_operation_destroy cp_mongoc.mongoc_bulk_operation_destroy
#define mongoc_bulk_operation_execute cp_mongoc.mongoc_bulk_operation_execute
#define mongoc_bulk_operation_replace_one_with_opts cp_mongoc.mongoc_bulk_operation_replace_one_with_opts
#define mongoc_bulk_operation_update_one_with_opts cp_mongoc.mongoc_bulk_operation_update_one_with_opts
#define mongoc_change_stream_destroy cp_mongoc.mongoc_change_stream_destroy
#define mongoc_change_stream_error_document cp_mongoc.mongoc_change_stream_error_document
#define mongoc_change_stream_get_resume_token cp_mongoc.mongoc_change_stream_get_resume_token
#define mongoc_change_stream_next cp_mongoc.mongoc_change_stream_next
#define mongoc_cleanup cp_mongoc.mongoc_cleanup
#define mongoc_client_command_simple cp_mongoc.mongoc_client_command_simple
#define mongoc_client_get_collection cp_mongoc.mongoc_client_get_collection
#define mongoc_client_get_database cp_mongoc.mongoc_client_get_database
#define mongoc_client_pool_destroy cp_mongoc.mongoc_client_pool_destroy
#define mongoc_client_pool_new_with_error cp_mongoc.mongoc_client_pool_new_with_error
#define mongoc_client_pool_pop cp_mongoc.mongoc_client_pool_pop
#define mongoc_client_pool_push cp_mongoc.mongoc_client_pool_push
#define mongoc_client_pool_set_error_api cp_mongoc.mongoc_client_pool_set_error_api
#define mongoc_collection_create_bulk_operation_with_opts cp_mongoc.mongoc_collection_create_bulk_operation_with_opts
#define mongoc_collection_delete_many cp_mongoc.mongoc_collection_delete_many
#define mongoc_collection_destroy cp_mongoc.mongoc_collection_destroy
#define mongoc_collection_find_with_opts cp_mongoc.mongoc_collection_find_with_opts
#define mongoc_collection_insert_one cp_mongoc.mongoc_collection_insert_one
#define mongoc_cursor_destroy cp_mongoc.mongoc_cursor_destroy
#define mongoc_cursor_error cp_mongoc.mongoc_cursor_error
#define mongoc_cursor_next cp_mongoc.mongoc_cursor_next
#define mongoc_database_destroy cp_mongoc.mongoc_database_destroy
#define mongoc_database_watch cp_mongoc.mongoc_database_watch
#define mongoc_init cp_mongoc.mongoc_init
#define mongoc_log_set_handler cp_mongoc.mongoc_log_set_handler
#define mongoc_uri_destroy cp_mongoc.mongoc_uri_destroy
#define mongoc_uri_get_appname cp_mongoc.mongoc_uri_get_appname
#define mongoc_uri_get_option_as_bool cp_mongoc.mongoc_uri_get_option_as_bool
#define mongoc_uri_get_tls cp_mongoc.mongoc_uri_get_tls
#define mongoc_uri_has_option cp_mongoc.mongoc_uri_has_option
#define mongoc_uri_new_with_error cp_mongoc.mongoc_uri_new_with_error
#define mongoc_uri_set_appname cp_mongoc.mongoc_uri_set_appname
#define mongoc_uri_set_option_as_int32 cp_mongoc.mongoc_uri_set_option_as_int32
/* clang-format on */
#endif

#endif
