// Command gcs is a store that speaks Google Cloud Storage's protocol
// (fsouza/fake-gcs-server) in memory, for tests. It is a module of its own, so that
// what it needs is not in the service's.
//
// It prints its address.
package main

import (
	"flag"
	"fmt"
	"log"

	"github.com/fsouza/fake-gcs-server/fakestorage"
)

func main() {
	bucket := flag.String("bucket", "bucket", "the bucket that is there from the start")
	flag.Parse()
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", Host: "127.0.0.1"})
	if err != nil {
		log.Fatal(err)
	}
	server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: *bucket, VersioningEnabled: true})
	fmt.Println(server.URL())
	select {}
}
