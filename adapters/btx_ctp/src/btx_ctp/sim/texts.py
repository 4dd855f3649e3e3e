"""ErrorIDs of a front, with the texts it sends: GB18030 on the wire, as ``error.xml`` of the vendor's kit has them."""

__all__ = ("OK", "RspInfo", "info")

RspInfo = tuple[str, dict[str, object]]

OK = 0

_TEXTS = {
    0: "正确",
    3: "CTP:不合法的登录",
    6: "CTP:用户还没有登录",
    7: "CTP:还没有初始化",
    15: "CTP:报单字段有误",
    16: "CTP:找不到合约",
    22: "CTP:报单错误：不允许重复报单",
    25: "CTP:撤单找不到相应报单",
    26: "CTP:报单已全成交或已撤销，不能再撤",
    30: "CTP:平仓量超过持仓量",
    31: "CTP:资金不足",
    42: "CTP:结算结果未确认",
    50: "CTP:平今仓位不足",
    51: "CTP:平昨仓位不足",
    63: "CTP:客户端认证失败",
    64: "CTP:客户端未认证",
    75: "CTP:连续登录失败次数超限，登录被禁止",
    90: "CTP:查询未就绪，请稍后重试",
    116: "CTP:下单频率限制",
}


def info(error_id: int) -> RspInfo:
    """Return what an answer says of itself."""
    return "CThostFtdcRspInfoField", {"ErrorID": error_id, "ErrorMsg": _TEXTS[error_id]}
