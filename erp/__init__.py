"""The boundary: what business systems hand over and get back.

The contract and its reading   contract, source, laws, moments, known, freshness, fingerprint, engine
Where tables come from         extract (any kind), extract_files, extract_postgres, extract_tables, tryton_source
History of what overwrites     collected, collected_rows
The store                      store_lock, ledger, ledger_*, runs, kept_files, outbox, planner_words
The queue as files             queue_files, workbook
Where a queue is delivered     destination (what each must do, and opening one), queue_fields, rank_encoding,
                               postgres_queue with postgres_tables, rest_queue with rest_settings, tryton_queue
Talking to systems             addresses, credentials, postgres_address, web_calls, tryton_rpc
Tryton alone                   tryton_*: words, moves, stock, inbound make the tables; shipments, assignment deliver
A company to try things on     simulator, simulated_*, online_retail*, replayed_*
Settings                       settings (Site), settings_table (tables of it with a class of their own)
"""
