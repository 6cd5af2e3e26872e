// Command registry is a real registry (distribution/distribution) in memory, for
// tests. It is a module of its own, so that what it needs is not in the service's.
//
// It takes tokens of a service that a test starts, when it is told of one, and
// prints its address.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd" // one of the ways to guard it
	_ "github.com/distribution/distribution/v3/registry/auth/token"    // the other one
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // where it keeps all
	"github.com/sirupsen/logrus"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where it is served")
	realm := flag.String("realm", "", "the token service; nobody is asked for a token without it")
	jwks := flag.String("jwks", "", "file with the keys of the token service")
	htpasswd := flag.String("htpasswd", "", "file with users and passwords, which are asked for by Basic")
	flag.Parse()
	logrus.SetLevel(logrus.ErrorLevel)
	c := &configuration.Configuration{Storage: configuration.Storage{
		"inmemory": configuration.Parameters{}, "delete": configuration.Parameters{"enabled": true},
	}}
	c.HTTP.Secret = "of a test"
	c.Catalog.MaxEntries = 1000
	c.Log.AccessLog.Disabled = true
	switch {
	case *realm != "":
		c.Auth = configuration.Auth{"token": configuration.Parameters{"realm": *realm, "service": "registry", "issuer": "tests", "jwks": *jwks}}
	case *htpasswd != "":
		c.Auth = configuration.Auth{"htpasswd": configuration.Parameters{"realm": "registry", "path": *htpasswd}}
	}
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("http://" + listener.Addr().String())
	server := &http.Server{Handler: handlers.NewApp(context.Background(), c), ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.Serve(listener))
}
