CHAPTERS = ("translation","access","entry","returns","fields","priority","guest_access","mprv",)
