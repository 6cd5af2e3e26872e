module github.com/datapunchorg/go-clouddriver/localkube

go 1.26.0
