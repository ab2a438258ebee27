// A MongoDB server for the tests: FerretDB over SQLite files, on a free loopback port. Prints its
// connection string and runs until it is told to stop.
//
//	ferretdb FOLDER              plain TCP
//	ferretdb FOLDER CERT KEY     TLS with this server certificate
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/FerretDB/FerretDB/ferretdb"
)

func main() {
	if len(os.Args) != 2 && len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: ferretdb FOLDER [CERT KEY]")
		os.Exit(2)
	}
	config := ferretdb.Config{
		Handler:   "sqlite",
		SQLiteURL: "file:" + os.Args[1] + "/",
		Logger:    slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if len(os.Args) == 4 {
		config.Listener = ferretdb.ListenerConfig{TLS: "127.0.0.1:0", TLSCertFile: os.Args[2], TLSKeyFile: os.Args[3]}
	} else {
		config.Listener.TCP = "127.0.0.1:0"
	}
	server, err := ferretdb.New(&config)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() { fmt.Println(server.MongoDBURI()) }() // waits for the listener
	if err := server.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
