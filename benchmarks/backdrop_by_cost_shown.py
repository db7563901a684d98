def show(found, plot): print(found["regimes"].keys())
