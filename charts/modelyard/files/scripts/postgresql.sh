#!/bin/sh
# Starts PostgreSQL with a database and a user for MLflow. Needs the programs alone, no image's own entrypoint.
# The environment: PGDATA, MLFLOW_PASSWORD.
set -eu
umask 077

# Where Debian and the public image have them; data decide the version, where there are several.
version='*'
[ ! -s "$PGDATA/PG_VERSION" ] || version=$(cat "$PGDATA/PG_VERSION")
for directory in /usr/lib/postgresql/$version/bin; do
  PATH=$directory:$PATH
done

single() {
  postgres --single -F -D "$1" -c exit_on_error=true "$2" >/dev/null
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # Made elsewhere and moved: a start that is interrupted leaves nothing half done behind.
  rm -rf "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --encoding=UTF8 --locale=C.UTF-8 --auth=reject
  # The socket is for the readiness check, which asks without a password and needs no session.
  printf '%s\n' "local mlflow mlflow scram-sha-256" "host mlflow mlflow all scram-sha-256" >"$PGDATA.new/pg_hba.conf"
  echo "CREATE ROLE mlflow LOGIN" | single "$PGDATA.new" postgres
  echo "CREATE DATABASE mlflow OWNER mlflow" | single "$PGDATA.new" postgres
  mv "$PGDATA.new" "$PGDATA"
fi

# The Secret is right: a new password, or data that outlived a release, need only a start.
# The lock of a server that was killed names process 1, which now is this script; a StatefulSet never runs two.
rm -f "$PGDATA/postmaster.pid"
quoted=$(printf %s "$MLFLOW_PASSWORD" | sed "s/'/''/g")
echo "ALTER ROLE mlflow PASSWORD '$quoted'" | single "$PGDATA" postgres

exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp
