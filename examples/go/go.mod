module m3e.example/m3e

go 1.19
