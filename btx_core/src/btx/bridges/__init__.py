"""Optional libraries, hardened: each module imports one of them and turns it into what the ports promise.

Import these modules late: ``btx.bridges.ccxt`` costs 0.7 s and 100 MB, ``btx.bridges.cryptofeed`` 0.3 s.
"""
